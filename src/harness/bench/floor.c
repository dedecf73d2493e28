/* Three commands that bound what ANOMALY.ADD can cost; `anomaly bench` compiles this file for its own servers, and nothing else
 * loads it. The declarations are those of the module API.
 *
 * bench.floor key argument argument: does nothing and answers with an integer.
 * bench.ask key argument argument: asks of the server what ADD must at least ask: its three words, the database and the time, that the key has
 *   changed, that there is a change to be saved, and a reply, which is kept from one time to the next as that costs least. It does nothing with them.
 * bench.open key argument argument: opens the sensor as ADD must, looks at the first byte of what is stored, closes it. */
typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef int (*Command)(RedisModuleCtx *, RedisModuleString **, int);

static int (*ReplyWithLongLong)(RedisModuleCtx *, long long);
static int (*ReplyWithError)(RedisModuleCtx *, const char *);
static RedisModuleKey *(*OpenKey)(RedisModuleCtx *, RedisModuleString *, int);
static void (*CloseKey)(RedisModuleKey *);
static void *(*ModuleTypeGetValue)(RedisModuleKey *);
static const char *(*StringPtrLen)(const RedisModuleString *, unsigned long *);
static int (*GetSelectedDb)(RedisModuleCtx *);
static long long (*CachedMicroseconds)(void);
static int (*SignalModifiedKey)(RedisModuleCtx *, RedisModuleString *);
static int (*ReplicateVerbatim)(RedisModuleCtx *);
static RedisModuleCallReply *(*Call)(RedisModuleCtx *, const char *, const char *, ...);
static int (*ReplyWithCallReply)(RedisModuleCtx *, RedisModuleCallReply *);

static int floor_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  (void)argv;
  (void)argc;
  return ReplyWithLongLong(ctx, 0);
}

static int ask_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  static RedisModuleCallReply *kept;
  static volatile long long sum;
  unsigned long length;
  for (int word = 1; word < argc; word++)
    sum += *StringPtrLen(argv[word], &length) + (long long)length;
  sum += GetSelectedDb(ctx) + CachedMicroseconds();
  SignalModifiedKey(ctx, argv[1]);
  ReplicateVerbatim(ctx);
  if (!kept)
    kept = Call(ctx, "PING", "");
  return ReplyWithCallReply(ctx, kept);
}

static int open_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  enum { READ = 1, WRITE = 2 };
  RedisModuleKey *key = argc > 1 ? OpenKey(ctx, argv[1], READ | WRITE) : 0;
  const volatile char *stored = key ? ModuleTypeGetValue(key) : 0;
  long long first = stored ? *stored : 0;
  CloseKey(key);
  return stored ? ReplyWithLongLong(ctx, first) : ReplyWithError(ctx, "ERR no such sensor");
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  int (*get)(const char *, void *) = ((void **)ctx)[0];
  void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
  int (*CreateCommand)(RedisModuleCtx *, const char *, Command, const char *, int, int, int);
  const char *how = "write fast deny-oom";
  (void)argv;
  (void)argc;
  if (get("RedisModule_SetModuleAttribs", &SetModuleAttribs) || get("RedisModule_CreateCommand", &CreateCommand) ||
      get("RedisModule_ReplyWithLongLong", &ReplyWithLongLong) || get("RedisModule_ReplyWithError", &ReplyWithError) ||
      get("RedisModule_OpenKey", &OpenKey) || get("RedisModule_CloseKey", &CloseKey) ||
      get("RedisModule_ModuleTypeGetValue", &ModuleTypeGetValue) || get("RedisModule_StringPtrLen", &StringPtrLen) ||
      get("RedisModule_GetSelectedDb", &GetSelectedDb) || get("RedisModule_CachedMicroseconds", &CachedMicroseconds) ||
      get("RedisModule_SignalModifiedKey", &SignalModifiedKey) || get("RedisModule_ReplicateVerbatim", &ReplicateVerbatim) ||
      get("RedisModule_Call", &Call) || get("RedisModule_ReplyWithCallReply", &ReplyWithCallReply))
    return 1;
  SetModuleAttribs(ctx, "benchfloor", 1, 1);
  return CreateCommand(ctx, "bench.floor", floor_command, how, 1, 1, 1) ||
         CreateCommand(ctx, "bench.ask", ask_command, how, 1, 1, 1) ||
         CreateCommand(ctx, "bench.open", open_command, how, 1, 1, 1);
}

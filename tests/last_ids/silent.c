/* silent.add stream ms: adds an entry with the id ms-0 in a way that tells nobody. For a test; the declarations are those of
 * the module API. */
typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct { unsigned long long ms, seq; } StreamID;
typedef int (*Command)(RedisModuleCtx *, RedisModuleString **, int);

static int (*ReplyWithLongLong)(RedisModuleCtx *, long long);
static RedisModuleKey *(*OpenKey)(RedisModuleCtx *, RedisModuleString *, int);
static void (*CloseKey)(RedisModuleKey *);
static int (*StringToLongLong)(const RedisModuleString *, long long *);
static int (*StreamAdd)(RedisModuleKey *, int, StreamID *, RedisModuleString **, long);

static int add(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  long long ms = 0;
  (void)argc;
  StringToLongLong(argv[2], &ms);
  StreamID id = {(unsigned long long)ms, 0};
  RedisModuleKey *key = OpenKey(ctx, argv[1], 3 /* read and write */);
  int failed = StreamAdd(key, 0, &id, argv + 1, 1);
  CloseKey(key);
  return ReplyWithLongLong(ctx, failed);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  int (*get)(const char *, void *) = ((void **)ctx)[0];
  void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
  int (*CreateCommand)(RedisModuleCtx *, const char *, Command, const char *, int, int, int);
  (void)argv;
  (void)argc;
  if (get("RedisModule_SetModuleAttribs", &SetModuleAttribs) || get("RedisModule_CreateCommand", &CreateCommand) ||
      get("RedisModule_ReplyWithLongLong", &ReplyWithLongLong) || get("RedisModule_OpenKey", &OpenKey) ||
      get("RedisModule_CloseKey", &CloseKey) || get("RedisModule_StringToLongLong", &StringToLongLong) ||
      get("RedisModule_StreamAdd", &StreamAdd))
    return 1;
  SetModuleAttribs(ctx, "silent", 1, 1);
  return CreateCommand(ctx, "silent.add", add, "write", 1, 1, 1);
}

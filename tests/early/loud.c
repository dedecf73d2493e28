/* When a key expires, adds an entry to the stream `raw` as modules do that tell of it themselves. For a test; the declarations
 * are those of the module API. */
typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct { unsigned long long ms, seq; } StreamID;
typedef int (*Notified)(RedisModuleCtx *, int, const char *, RedisModuleString *);

enum { EXPIRED = 1 << 8, STREAM = 1 << 10, READ_AND_WRITE = 3, AUTOID = 1 };

static RedisModuleString *(*CreateString)(RedisModuleCtx *, const char *, unsigned long);
static void (*FreeString)(RedisModuleCtx *, RedisModuleString *);
static RedisModuleKey *(*OpenKey)(RedisModuleCtx *, RedisModuleString *, int);
static void (*CloseKey)(RedisModuleKey *);
static int (*StreamAdd)(RedisModuleKey *, int, StreamID *, RedisModuleString **, long);
static int (*NotifyKeyspaceEvent)(RedisModuleCtx *, int, const char *, RedisModuleString *);

static int on_expired(RedisModuleCtx *ctx, int kind, const char *event, RedisModuleString *expired) {
  static const char *const words[] = {"id", "d", "temp", "5", "ts", "1754300001000", "raw"};
  RedisModuleString *strings[7];
  (void)kind;
  (void)event;
  (void)expired;
  for (int i = 0; i < 7; i++) {
    unsigned long length = 0;
    while (words[i][length]) length++;
    strings[i] = CreateString(ctx, words[i], length);
  }
  RedisModuleKey *key = OpenKey(ctx, strings[6], READ_AND_WRITE);
  StreamAdd(key, AUTOID, 0, strings, 3);
  CloseKey(key);
  NotifyKeyspaceEvent(ctx, STREAM, "xadd", strings[6]);
  for (int i = 0; i < 7; i++) FreeString(ctx, strings[i]);
  return 0;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  int (*get)(const char *, void *) = ((void **)ctx)[0];
  void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
  int (*SubscribeToKeyspaceEvents)(RedisModuleCtx *, int, Notified);
  (void)argv;
  (void)argc;
  if (get("RedisModule_SetModuleAttribs", &SetModuleAttribs) ||
      get("RedisModule_SubscribeToKeyspaceEvents", &SubscribeToKeyspaceEvents) ||
      get("RedisModule_CreateString", &CreateString) || get("RedisModule_FreeString", &FreeString) ||
      get("RedisModule_OpenKey", &OpenKey) || get("RedisModule_CloseKey", &CloseKey) ||
      get("RedisModule_StreamAdd", &StreamAdd) || get("RedisModule_NotifyKeyspaceEvent", &NotifyKeyspaceEvent))
    return 1;
  SetModuleAttribs(ctx, "loud", 1, 1);
  return SubscribeToKeyspaceEvents(ctx, EXPIRED, on_expired);
}

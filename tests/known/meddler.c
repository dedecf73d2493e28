/* Works on sensors in the midst of what the server does: while a database is being emptied it adds a reading to `flushed`; to a new
 * key whose name begins with `add` as well. For a test; the declarations are those of the module API. */
#include <string.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct { unsigned long long id, dataver; } Event;

static RedisModuleCallReply *(*Call)(RedisModuleCtx *, const char *, const char *, ...);
static void (*FreeCallReply)(RedisModuleCallReply *);
static const char *(*StringPtrLen)(const RedisModuleString *, size_t *);

static void on_flush(RedisModuleCtx *ctx, Event event, unsigned long long what, void *data) {
  (void)event, (void)what, (void)data;
  RedisModuleCallReply *reply = Call(ctx, "ANOMALY.ADD", "ccc", "flushed", "1000", "7");
  if (reply) FreeCallReply(reply);
}

static int on_new(RedisModuleCtx *ctx, int type, const char *event, RedisModuleString *key) {
  const char *name = StringPtrLen(key, 0);
  RedisModuleCallReply *reply = 0;
  (void)type, (void)event;
  if (!strncmp(name, "add", 3)) reply = Call(ctx, "ANOMALY.ADD", "scc", key, "1000", "7");
  if (reply) FreeCallReply(reply);
  return 0;
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  int (*get)(const char *, void *) = ((void **)ctx)[0];
  void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
  int (*SubscribeToServerEvent)(RedisModuleCtx *, Event, void (*)(RedisModuleCtx *, Event, unsigned long long, void *));
  int (*SubscribeToKeyspaceEvents)(RedisModuleCtx *, int, int (*)(RedisModuleCtx *, int, const char *, RedisModuleString *));
  (void)argv, (void)argc;
  if (get("RedisModule_SetModuleAttribs", &SetModuleAttribs) || get("RedisModule_SubscribeToServerEvent", &SubscribeToServerEvent) ||
      get("RedisModule_SubscribeToKeyspaceEvents", &SubscribeToKeyspaceEvents) || get("RedisModule_Call", &Call) ||
      get("RedisModule_FreeCallReply", &FreeCallReply) || get("RedisModule_StringPtrLen", &StringPtrLen))
    return 1;
  SetModuleAttribs(ctx, NAME, 1, 1);
  Event flush = {2, 1};
  return SubscribeToServerEvent(ctx, flush, on_flush) | SubscribeToKeyspaceEvents(ctx, 1 << 14 /* new keys */, on_new);
}

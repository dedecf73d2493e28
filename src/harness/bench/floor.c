/* bench.floor key argument argument: a command of a module that does nothing and answers with an integer. It is what a
 * command with a key and two arguments costs whatever it does, and so the bound for ANOMALY.ADD. `anomaly bench` compiles
 * this file for its own servers; nothing else loads it. The declarations are those of the module API. */
typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef int (*Command)(RedisModuleCtx *, RedisModuleString **, int);

static int (*ReplyWithLongLong)(RedisModuleCtx *, long long);

static int floor_command(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  (void)argv;
  (void)argc;
  return ReplyWithLongLong(ctx, 0);
}

int RedisModule_OnLoad(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {
  int (*get)(const char *, void *) = ((void **)ctx)[0];
  void (*SetModuleAttribs)(RedisModuleCtx *, const char *, int, int);
  int (*CreateCommand)(RedisModuleCtx *, const char *, Command, const char *, int, int, int);
  (void)argv;
  (void)argc;
  if (get("RedisModule_SetModuleAttribs", &SetModuleAttribs) || get("RedisModule_CreateCommand", &CreateCommand) ||
      get("RedisModule_ReplyWithLongLong", &ReplyWithLongLong))
    return 1;
  SetModuleAttribs(ctx, "benchfloor", 1, 1);
  return CreateCommand(ctx, "bench.floor", floor_command, "write fast deny-oom", 1, 1, 1);
}

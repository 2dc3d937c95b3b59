// A function for nobody: see warmUp in worker.cjs.
exports.main = (event, context) => ({ event, left: context.remainingMs() })

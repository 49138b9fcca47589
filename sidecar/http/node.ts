/**
 * Node's HTTP, without what its ES module takes along: to name every export, `import 'node:http'` reads every one, and `http.WebSocket` is
 * a getter that loads Node's whole fetch, 13 MB of a process that may have no use for it.
 */
export const http: typeof import('node:http') = process.getBuiltinModule('node:http');
export const { STATUS_CODES } = http;

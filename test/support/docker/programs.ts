/** What apps in containers do, as programs for their own interpreters; none knows of AGNT2. */

/** Two calls of an MCP client by hand: a session of its own, and a tool. */
export const MCP = `
import json, urllib.request
def post(message, session=None):
    headers = {'content-type': 'application/json', 'accept': 'application/json, text/event-stream'}
    if session: headers['mcp-session-id'] = session
    return urllib.request.urlopen(urllib.request.Request('http://tools.agnt2/mcp', json.dumps({'jsonrpc': '2.0', **message}).encode(), headers))
client = {'protocolVersion': '2025-06-18', 'capabilities': {}, 'clientInfo': {'name': 'papers', 'version': '1'}}
with post({'id': 1, 'method': 'initialize', 'params': client}) as answer:
    session = answer.headers['mcp-session-id']
    answer.read()
with post({'id': 2, 'method': 'tools/call', 'params': {'name': 'echo', 'arguments': {'message': 'from a container'}}}, session) as answer:
    print(answer.read().decode())
`;
/** Node's own fetch, told by its environment that there is a proxy. */
export const FETCH = `
for (const url of ['http://web.agnt2/', 'http://papers.agnt2/paper.txt']) {
  const answer = await fetch(url);
  console.log(answer.status, (await answer.text()).length);
}`;

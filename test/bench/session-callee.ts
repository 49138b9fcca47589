/** The payees' side of the session bench, in a worker thread: told which ends to connect, it says when they are. */
import { parentPort } from 'node:worker_threads';
import type { SessionEndpoint } from '../../sidecar/session/index.ts';
import { type EndOptions, connectEnd, held } from './session-end.ts';

let ends: SessionEndpoint[] = [];

parentPort!.on('message', (message: EndOptions[] | 'close' | 'held') => {
  void (async () => {
    if (message === 'close') {
      for (const end of ends) end.close();
      ends = [];
      parentPort!.postMessage('closed');
    } else if (message === 'held') {
      parentPort!.postMessage(held());
    } else {
      ends.push(...(await Promise.all(message.map(connectEnd))));
      parentPort!.postMessage('connected');
    }
  })();
});

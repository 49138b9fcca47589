/**
 * An app that keeps notes in a Firestore, by gRPC's own client and the package's own messages, neither of which has heard of AGNT2: the address is
 * the peer's name, the way there is the environment's proxy. Bundled into one file, it runs in any container with Node, and prints a {@link Kept}.
 */
import { once } from 'node:events';
import {
  BatchGetDocumentsRequest,
  CommitRequest,
  FirestoreClient,
  ListenRequest,
  RunQueryRequest,
} from '@firestore-emulator/proto/dist/google/firestore/v1/firestore.js';
import { type ServiceError, type StatusObject, credentials } from '@grpc/grpc-js';

/** What came of it, in the order it was tried. */
export interface Kept {
  /** Writes the service says it made, call by call. */
  readonly committed: readonly number[];
  /** Documents by one call of a stream, and by a query's stream: `name=text`. */
  readonly got: readonly string[];
  readonly found: readonly string[];
  /** How a commit that the service refuses ended: its status, in trailers. */
  readonly refused: { readonly code: number; readonly details: string };
  /** The status that each stream ended with. */
  readonly ended: readonly number[];
  /** What a listener was told, if it was to be one, by a call both ways: at first, and of a commit made meanwhile. */
  readonly heard: readonly string[];
}

const [address, run, isListening] = process.argv.slice(2);
const database = 'projects/notes/databases/(default)';
const parent = `${database}/documents`;
// The package has the types of a copy of gRPC of its own; bundled, it uses this one.
const client = new FirestoreClient(address, credentials.createInsecure() as never);

const write = (id: string, exists?: boolean) => ({
  update: { name: `${parent}/${run}/${id}`, fields: { text: { string_value: `note ${id}` } } },
  ...(exists !== undefined && { current_document: { exists } }),
});
const commit = (...writes: readonly ReturnType<typeof write>[]): Promise<number> =>
  new Promise((resolve, reject) => {
    client.Commit(CommitRequest.fromObject({ database, writes: [...writes] }), (error, answer) =>
      error === null ? resolve(answer!.write_results.length) : reject(error),
    );
  });
const noteOf = ({ name, fields }: { name: string; fields: Map<string, { string_value: string }> }): string =>
  `${name.split('/').at(-1)}=${fields.get('text')!.string_value}`;

const committed = [await commit(write('a')), await commit(write('b'), write('c')), await commit(write('d', false))];
const refused = await commit(write('a', false)).then(
  () => ({ code: 0, details: '' }),
  ({ code, details }: ServiceError) => ({ code, details }),
);

const ended: number[] = [];
const documents = ['a', 'b', 'x'].map((id) => `${parent}/${run}/${id}`);
const got: string[] = [];
const batch = client.BatchGetDocuments(BatchGetDocumentsRequest.fromObject({ database, documents }));
batch.on('status', ({ code }: StatusObject) => ended.push(code));
for await (const { has_found, found, missing } of batch)
  got.push(has_found ? noteOf(found) : `${missing.split('/').at(-1)} is missing`);

const found: string[] = [];
const query = { from: [{ collection_id: run }] };
const results = client.RunQuery(RunQueryRequest.fromObject({ parent, structured_query: query }));
results.on('status', ({ code }: StatusObject) => ended.push(code));
for await (const { has_document, document } of results) if (has_document) found.push(noteOf(document));

const heard: string[] = [];
if (isListening !== undefined) {
  // The package's own reader of these answers wants a function that its protobuf has dropped: they are read as bytes.
  const listening = client.makeBidiStreamRequest(
    '/google.firestore.v1.Firestore/Listen',
    (request: ListenRequest) => Buffer.from(request.serialize()),
    (bytes: Buffer) => bytes.toString('latin1'),
  );
  listening.on('error', () => {});
  listening.on('data', (bytes: string) => heard.push(...(/note \w/.exec(bytes) ?? [])));
  const hears = async (note: string): Promise<void> => {
    while (heard.at(-1) !== note) await once(listening, 'data');
  };
  listening.write(
    ListenRequest.fromObject({ database, add_target: { target_id: 1, query: { parent, structured_query: query } } }),
  );
  await hears('note d');
  committed.push(await commit(write('e')));
  await hears('note e');
  listening.cancel();
}
client.close();
console.log(JSON.stringify({ committed, got, found, refused, ended, heard } satisfies Kept));
// The client's resolver keeps a timer of 30 s after its end.
process.exit();

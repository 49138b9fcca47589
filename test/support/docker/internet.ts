/** A piece of Internet on this machine: a host at an address that counts as public, on a bridge. */
import type { Docker } from './engine.ts';
import { IMAGES } from './images.ts';

/** Of AMPRNet's own test network, 44.128.0.0/16, which is routed nowhere. */
const SUBNET = '44.128.0.0/24';
export const SITE = '44.128.0.10';
/** Where the site takes connections, and says nothing. */
export const SILENT_PORT = 81;
/** Where nobody is: who connects waits for seconds. */
export const NOBODY = '44.128.0.77';
/** The name of the site that its owner lets lead there. */
export const NAMED = 'site.example.com';
/** A name that its owner lets lead to an address inside. */
export const INNER = 'inner.example.com';

const SERVER = `
import http.server, socket, ssl, threading
# Without a certificate: neither end knows the other, but what they say is TLS.
known = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
known.maximum_version = ssl.TLSVersion.TLSv1_2
known.set_ciphers('AECDH-AES256-SHA:@SECLEVEL=0')
def tell(secure):
    while True:
        try:
            with known.wrap_socket(secure.accept()[0], server_side=True) as client: client.sendall(b'over TLS')
        except OSError: pass
threading.Thread(target=tell, args=[socket.create_server(('', 443))], daemon=True).start()
silent = socket.create_server(('', ${SILENT_PORT}), backlog=1024)
class Site(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.do_GET()
    def do_GET(self):
        if self.path == '/garbled': return self.wfile.write(b'not HTTP\\r\\n\\r\\n')
        away = self.path == '/away'
        body = b'' if away else b'x' * (100000 if self.path == '/large' else 10)
        self.send_response(302 if away else 200)
        if away: self.send_header('location', 'http://169.254.169.254/latest/')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('', 80), Site).serve_forever()
`;

export class Internet {
  readonly #docker: Docker;
  readonly #network: string;

  private constructor(docker: Docker, network: string) {
    this.#docker = docker;
    this.#network = network;
  }

  get #site(): string {
    return `${this.#network}-site`;
  }

  /** Brings it up, and gives a container a way there; on `inside`, a network that the container is on already, the site is {@link INNER}. */
  static async reach(docker: Docker, name: string, container: string, inside: string): Promise<Internet> {
    const internet = new Internet(docker, name);
    await docker.run('network', 'create', '--internal', '--subnet', SUBNET, name);
    const run = [
      'run',
      '--detach',
      '--name',
      internet.#site,
      '--network',
      name,
      '--ip',
      SITE,
      '--network-alias',
      NAMED,
    ];
    await docker.run(...run, IMAGES.python, 'python3', '-c', SERVER);
    await docker.run('network', 'connect', '--alias', INNER, inside, internet.#site);
    await docker.run('network', 'connect', name, container);
    return internet;
  }

  async end(container: string): Promise<void> {
    await this.#docker.run('rm', '--force', this.#site);
    await this.#docker.run('network', 'disconnect', '--force', this.#network, container);
    await this.#docker.run('network', 'rm', this.#network);
  }
}

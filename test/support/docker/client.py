"""What an app in a container may try: plain HTTP by Python's own client, which knows of no AGNT2, and sockets. Attempts come as JSON, results go as JSON."""
import concurrent.futures, json, os, socket, ssl, struct, sys, urllib.error, urllib.request

TIMEOUT = 30
REACH = 2  # Seconds until an address counts as out of reach; on a bridge an answer takes less than one millisecond.


def http(url, method='GET', headers={}, body=None):
    request = urllib.request.Request(url, method=method, headers=headers, data=None if body is None else body.encode())
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return {'status': answer.status, 'body': answer.read().decode('latin1')[:4000], 'headers': dict(answer.headers)}
    except urllib.error.HTTPError as answer:
        text = answer.read().decode('latin1')[:4000]
        try:
            code = json.loads(text).get('code')
        except ValueError:
            code = None
        return {'status': answer.code, 'code': code, 'body': text}


def connect(to):
    """Asks the sidecar for a tunnel; the connection, and the head of its answer."""
    connection = socket.create_connection(('agnt2', 8402), timeout=TIMEOUT)
    connection.sendall(f'CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n'.encode())
    head = b''
    while not head.endswith(b'\r\n\r\n') and (byte := connection.recv(1)):
        head += byte
    return connection, head


def tunnels(to, count):
    """Holds as many tunnels as are asked for, and asks for one more."""
    held = [connect(to) for _ in range(count)]
    try:
        closed = [head for _, head in held if not head.startswith(b'HTTP/1.1 200 ')]
        return {'error': f'{len(closed)} are closed'} if closed else raw(f'CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\n')
    finally:
        for connection, _ in held:
            connection.close()


def raw(data, host='agnt2', port=8402, tunnel=None):
    with connect(tunnel)[0] if tunnel else socket.create_connection((host, port), timeout=TIMEOUT) as connection:
        connection.sendall(data.encode('latin1'))
        answer = b''
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                head, _, rest = answer.partition(b'\r\n\r\n')
                fields = dict(line.lower().split(b': ', 1) for line in head.split(b'\r\n')[1:] if b': ' in line)
                if rest and len(rest) >= int(fields.get(b'content-length', b'1000000')):
                    break
        except TimeoutError:
            pass
    head, _, rest = answer.decode('latin1').partition('\r\n\r\n')
    try:
        code = json.loads(rest).get('code')
    except ValueError:
        code = None
    status = int(head.split(' ')[1]) if head.startswith('HTTP/') else 0
    return {'status': status, 'code': code, 'body': rest[:4000]}


def tcp(host, port):
    with socket.create_connection((host, port), timeout=REACH):
        return {'reached': True}


def udp(host, port):
    """Whether the kernel knows a way at all; who listens counts what came."""
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for _ in range(3):
            sender.sendto(b'out', (host, port))
    return {'reached': True}


def icmp(host):
    """An echo request, as ping of an ordinary user sends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sender:
        sender.settimeout(REACH)
        sender.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]) + b'out', (host, 0))
        return {'reached': sender.recv(100) != b''}


def tls(host, port=443, name=None):
    """What a server says after a handshake in which neither end knows the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers('AECDH-AES256-SHA:@SECLEVEL=0')
    with socket.create_connection((host, port), timeout=TIMEOUT if name else REACH) as connection:
        connection.settimeout(TIMEOUT)
        with context.wrap_socket(connection, server_hostname=name) as secure:
            return {'body': secure.recv(100).decode()}


def alert(host, data):
    """The alert that bytes, given in hex, are answered with at the port of TLS, in hex too."""
    with socket.create_connection((host, 443), timeout=TIMEOUT) as connection:
        connection.sendall(bytes.fromhex(data))
        answer = b''
        while chunk := connection.recv(100):
            answer += chunk
        return {'body': answer.hex()}


def leave(host, address):
    """Names an address in a ClientHello, and breaks the connection off while nothing has come back for a second."""
    stand_in = address.replace('.', '-')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=stand_in).do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection((host, 443), timeout=TIMEOUT) as connection:
        # Python's own TLS says no address as a name.
        connection.sendall(out.read().replace(stand_in.encode(), address.encode()))
        connection.settimeout(1)
        try:
            return {'body': connection.recv(100).hex()}
        except TimeoutError:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    return {'body': 'reset'}


def query(server, name, type):
    """The code and the number of records of an answer of DNS, asked for by hand."""
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(2 * REACH)
        sender.sendto(b'\x12\x34\x01\0\0\1\0\0\0\0\0\0' + labels + bytes([0, 0, type, 0, 1]), (server, 53))
        answer = sender.recv(600)
        return {'code': str(answer[3] & 15), 'body': str(int.from_bytes(answer[6:8], 'big'))}


def resolve(name):
    return {'reached': True, 'addresses': sorted({entry[4][0] for entry in socket.getaddrinfo(name, 80)})}


def bare():
    """A socket that makes its own frames, to address them past every route."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        return {'reached': True}


def read(path):
    with open(path) as file:
        return {'reached': True, 'body': file.read()[:4000]}


def environment():
    return {'body': json.dumps(dict(os.environ))}


def attempt(how):
    what = dict(how)
    try:
        return globals()[what.pop('kind')](**what)
    except Exception as error:
        return {'error': f'{type(error).__name__}: {error}'}


attempts = json.loads(sys.argv[1])
if len(sys.argv) > 2:
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        results = list(pool.map(attempt, attempts))
else:
    results = [attempt(each) for each in attempts]
print(json.dumps(results))

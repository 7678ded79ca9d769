"""A client of HTTP/2 (RFC 9113) on python3-h2: one connection, many streams, bodies in both directions.

Nothing runs beside the test: bytes are read, and windows given back to the server, only inside of a call that waits for
something. So a test can be a client that does not read at all, or not one of its streams (`Exchange.reads`).
"""

import http.client
import ssl
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

GOAWAY = 7
NO_ERROR, CANCEL = 0, 8  # RFC 9113, section 7


class Exchange:
    """One request and its response: a stream."""

    def __init__(self, connection, id):
        self.connection, self.id = connection, id
        self.headers = []  # of the response; (name, value) in bytes, without :status
        self.status = None
        self.interim = []  # the statuses of interim responses
        self.body = bytearray()  # what has come and was not taken by read()
        self.reads = True  # False: the stream's window is not given back, the connection's is
        self.end = None  # "end" (END_STREAM), "reset" (RST_STREAM) or "closed" (the connection has ended)
        self.reset_code = None  # the server's RST_STREAM, also one that follows END_STREAM

    def send(self, data, end=False, seconds=20):
        """Send a piece of the request's body, as the server's window allows; less when the server ends the stream meanwhile."""
        h2c = self.connection.h2
        while self.end is None:
            room = min(h2c.local_flow_control_window(self.id), h2c.max_outbound_frame_size)
            if data and room <= 0:
                assert self.connection.receive(seconds) or self.end, "the server opens no window"
                continue
            h2c.send_data(self.id, data[:room], end_stream=end and len(data) <= room)
            self.connection.flush()
            data = data[room:]
            if not data:
                return

    def read(self, seconds):
        """What there is of the body, or comes within so many seconds. b"": it has ended. None: nothing came."""
        self.connection.wait(lambda: self.body or self.end, seconds)
        data, self.body = bytes(self.body), bytearray()
        return data or (b"" if self.end else None)

    def begun(self, seconds=20):
        """Wait for the response's head."""
        self.connection.wait(lambda: self.status is not None or self.end, seconds)
        if self.status is None:
            raise http.client.RemoteDisconnected(f"no response within {seconds} s: {self.end} {self.reset_code}")
        return self

    def whole(self, seconds=20):
        """Wait for the whole response; returns its body."""
        self.begun(seconds)
        self.connection.wait(lambda: self.end, seconds)
        if self.end != "end":
            raise http.client.IncompleteRead(bytes(self.body))
        return bytes(self.body)

    def reset(self, code=CANCEL):
        """Leave: RST_STREAM."""
        if self.end is None:
            self.end = "reset"
            self.connection.h2.reset_stream(self.id, code)
            self.connection.flush()

    def message(self):
        """The response's header fields as http.client gives those of HTTP/1.1."""
        message = http.client.HTTPMessage()
        for name, value in self.headers:
            message[name.decode("latin-1")] = value.decode("latin-1")
        return message


class Connection:
    """One connection, over a TLS socket on which h2 was agreed."""

    def __init__(self, sock, authority, window=65535):
        """`window`: what the server may send on a stream before it is read; the connection's is RFC 9113's 65,535."""
        self.sock, self.authority = sock, authority
        self.exchanges = {}
        self.closed = False  # the server has closed the connection
        self.goaway = None  # (last stream id, error code, debug data) of the last GOAWAY
        self.goaways = []
        self.pongs = 0
        self.frames = []  # (type, flags, stream id) of every frame that came
        self.raw = b""
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values={
            h2.settings.SettingCodes.ENABLE_PUSH: 0, h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.initiate_connection()
        self.flush()

    def open(self, method, path, headers=(), body=None, authority=None, end=True):
        """Send a request; the body as far as the server's window allows before it reads any. Header values are bytes or
        text. `end` False: the request goes on, with Exchange.send().
        """
        authority = authority or self.authority
        fields = []
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            value = value.encode() if isinstance(value, str) else value
            if name.lower() == "host":
                authority = value
            elif name.lower() == "cookie":
                fields += [("cookie", crumb) for crumb in value.split(b"; ")]  # as browsers do, RFC 9113, section 8.2.3
            else:
                fields.append((name.lower(), value))
        exchange = Exchange(self, self.h2.get_next_available_stream_id())
        self.exchanges[exchange.id] = exchange
        self.h2.send_headers(exchange.id, [(":method", method), (":scheme", "https"), (":authority", authority),
                                           (":path", path), *fields], end_stream=end and body is None)
        self.flush()
        if body is not None:
            exchange.send(body, end)
        return exchange

    def ask(self, method, path, headers=(), body=None, authority=None, seconds=20):
        """A whole exchange."""
        exchange = self.open(method, path, headers, body, authority)
        exchange.whole(seconds)
        return exchange

    def ping(self, seconds=10):
        """The server has read everything that was sent before, and answers."""
        wanted = self.pongs + 1
        self.h2.ping(b"a-test!!")
        self.flush()
        self.wait(lambda: self.pongs >= wanted or self.closed, seconds)
        assert self.pongs >= wanted, "no answer to a PING"

    def flush(self):
        try:
            self.sock.sendall(self.h2.data_to_send())
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass  # what the server sent before may yet be read; then comes the end

    def wait(self, condition, seconds):
        """Receive until condition() is true, the connection has ended, or the time is over. Says whether it is true."""
        deadline = time.monotonic() + seconds
        while not condition() and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.receive(left)
        return bool(condition())

    def receive(self, seconds):
        """Read from the socket once. False: nothing came, or the connection has ended."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            more = self.sock.recv(262144)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except (ConnectionResetError, ssl.SSLError):
            more = b""
        if not more:
            self.closed = True
            for exchange in self.exchanges.values():
                exchange.end = exchange.end or "closed"
            return False
        self.raw += more
        while len(self.raw) >= 9 and len(self.raw) >= 9 + int.from_bytes(self.raw[:3], "big"):
            size = 9 + int.from_bytes(self.raw[:3], "big")
            frame, self.raw = self.raw[:size], self.raw[size:]
            self.take(frame)
        self.flush()
        return True

    def take(self, frame):
        """One frame. A GOAWAY does not reach h2, which would take nothing more after it, while streams may go on."""
        self.frames.append((frame[3], frame[4], int.from_bytes(frame[5:9], "big")))
        if frame[3] == GOAWAY:
            self.goaway = (int.from_bytes(frame[9:13], "big"), int.from_bytes(frame[13:17], "big"), frame[17:])
            self.goaways.append(self.goaway)
            return
        for event in self.h2.receive_data(frame):
            if isinstance(event, h2.events.PingAckReceived):
                self.pongs += 1
            exchange = self.exchanges.get(getattr(event, "stream_id", None))
            if exchange is not None:
                self.tell(exchange, event)

    def tell(self, exchange, event):
        if isinstance(event, h2.events.ResponseReceived):
            exchange.status = int(dict(event.headers)[b":status"])
            exchange.headers = [(n, v) for n, v in event.headers if n != b":status"]
        elif isinstance(event, h2.events.InformationalResponseReceived):
            exchange.interim.append(int(dict(event.headers)[b":status"]))
        elif isinstance(event, h2.events.DataReceived):
            exchange.body += event.data
            if event.flow_controlled_length == 0:
                pass
            elif exchange.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, exchange.id)
            else:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.StreamEnded):
            exchange.end = exchange.end or "end"
        elif isinstance(event, h2.events.StreamReset) and event.remote_reset:
            exchange.end = exchange.end or "reset"
            exchange.reset_code = int(event.error_code)

    def close(self):
        """Leave without a word, as a client that vanishes."""
        self.sock.close()

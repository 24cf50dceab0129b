"""A camera that gives motion JPEG over HTTP: a real server, in a process of its own.

    python http_camera.py PORT FILE.jpg [FILE.jpg ...]

Prints its port, then obeys lines on standard input: ``stall`` (send nothing more, keep the
connections), ``go``. GET /stream gives motion JPEG at 30 Hz, /page a web page, /private what wants
user ``me`` and password ``secret``; all else is 404.
"""

import base64
import http.server
import pathlib
import socketserver
import sys
import threading
import time

BOUNDARY = "next"
SECRET = "Basic " + base64.b64encode(b"me:secret").decode()
going = threading.Event()
going.set()


class Camera(http.server.BaseHTTPRequestHandler):
    pictures = ()

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/page":
            self.answer(200, "text/html")
            self.wfile.write(b"<html><body>A page, not a picture.</body></html>")
        elif path == "/private" and self.headers.get("Authorization") != SECRET:
            self.answer(401, "text/plain", ("WWW-Authenticate", 'Basic realm="camera"'))
        elif path in ("/stream", "/private"):
            self.answer(200, "multipart/x-mixed-replace; boundary=" + BOUNDARY)
            self.stream()
        else:
            self.answer(404, "text/plain")

    def answer(self, status, kind, *more):
        self.send_response(status)
        for name, value in (("Content-Type", kind), *more):
            self.send_header(name, value)
        self.end_headers()

    def stream(self):
        number = 0
        try:
            while True:
                going.wait()
                picture = self.pictures[number % len(self.pictures)]
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                head += f"Content-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
                number += 1
                time.sleep(1 / 30.0)
        except OSError:  # the viewer is gone
            pass

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    Camera.pictures = [pathlib.Path(name).read_bytes() for name in sys.argv[2:]]
    server = Server(("127.0.0.1", int(sys.argv[1])), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(server.server_address[1])
    for line in sys.stdin:
        if line.strip() == "stall":
            going.clear()
        else:
            going.set()
        say("done")


main()

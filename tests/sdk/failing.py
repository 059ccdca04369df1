"""Providers that pass validation and fail every call, each in its own way."""

import http.server
import json
import threading

OVERLOADED = {"error": {"message": "The engine is currently overloaded, please try again later.", "type": "server_error"}}
LIMITED = {"error": {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}}
TIERS = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"]


class Failing:
    """One provider on a free port; counts the calls that reach it."""

    def __init__(self, status, body, headers=()):
        self.calls = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body, headers=()):
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in [("content-type", "application/json"), ("content-length", str(len(data))), *headers]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                self.answer(200, {"data": [{"id": "m1", "object": "model"}]})

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                outer.calls += 1
                self.answer(status, body, headers)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"


def providers():
    """A chain in which everything fails; none is out of the pool for it."""
    limited = [("retry-after", "30"), ("x-should-retry", "true")]
    return {"a": Failing(500, OVERLOADED), "b": Failing(503, OVERLOADED, limited), "c": Failing(429, LIMITED, limited)}


def config(chain):
    """What routor needs to know of them."""
    tables = [f'[providers.{name}]\nbase_url = "{provider.url}"\napi_key_env = ""\n' for name, provider in chain.items()]
    models = ", ".join(f'"{name}/m1"' for name in chain)
    names = ", ".join(f'"{name}"' for name in chain)
    tiers = [f"{tier} = [{models}]\n" for tier in TIERS]
    return "\n".join([*tables, f"[pool]\nonly = [{names}]\n", "[tiers]", *tiers])

"""Runs `routor check --format junit` against small providers in every state
that a check knows, and validates what it prints. Usage: junit.py BINARY TOOL"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as tree

HERE = pathlib.Path(__file__).parent
SCHEMA = HERE / "junit.xsd"
ODD = ['a"b\'c', "<failure>", "&amp;&lt;", "]]>", "100% %0A", "é世\U0001f600", "a::b,c=d:e"]


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers as the first part of the path says: `/401/v1/models` with 401."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status = int(self.path.split("/")[1])
        chat = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
        ids = {"data": [{"id": "m1"}, {"id": 'm2<&"]]>'}]}
        good = chat if self.command == "POST" else ids
        body = json.dumps(good if status == 200 else {"error": {"message": "<no>&]]>\n\x1b[31m"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        if status == 302:
            self.send_header("location", "https://a\"b<c>&]]>.example/")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def validator(tool):
    if tool == "xmllint":
        def check(path):
            done = subprocess.run(["xmllint", "--noout", "--schema", str(SCHEMA), path], capture_output=True, text=True)
            return None if done.returncode == 0 else done.stderr
        return check
    import xmlschema

    schema = xmlschema.XMLSchema(str(SCHEMA))

    def check(path):
        try:
            schema.validate(path)
        except xmlschema.XMLSchemaException as problem:
            return str(problem)
        return None
    return check


def quoted(text):
    """A TOML string; unlike JSON's, it has no surrogates."""
    return json.dumps(text, ensure_ascii=False)


def provider(name, port, status, key=""):
    return f'[providers.{quoted(name)}]\nbase_url = "http://127.0.0.1:{port}/{status}/v1"\napi_key_env = "{key}"\n'


def settings(providers):
    names = ", ".join(quoted(name) for name, _ in providers)
    chain = ", ".join(quoted(f"{name}/m1") for name, _ in providers)
    return "".join(text for _, text in providers) + f"[pool]\nonly = [{names}]\n[tiers]\nLIGHT = [{chain}]\n"


def cases(port):
    def one(name, status, key=""):
        return name, provider(name, port, status, key)

    mixed = settings([one("good", 200), one("bad", 401, "X_KEY"), one("missing", 200, "NEVER_SET"), one("poor", 402)])
    yield "all good", settings([one("good", 200)]), [], 0
    yield "every result", mixed, ["--allow-missing"], 1
    yield "nothing left", settings([one("down", 503)]), [], 1
    yield "skipped", settings([one("good", 200), one("missing", 200, "NEVER_SET")]), ["--allow-missing"], 0
    yield "strict", settings([one("good", 200)]), ["--strict"], 1
    yield "without", settings([one("a", 200), one("b", 200)]), ["--without", "a", "--without", "b"], 0
    yield "without the last", settings([one("a", 200)]), ["--without", "a"], 1
    yield "live", settings([one("a", 200)]), ["--live"], 0
    yield "a redirect", settings([one("a", 302)]), [], 0
    yield "odd names", settings([one(name, 200) for name in ODD]), ["--without", ODD[1]], 0
    yield "odd names that fail", settings([one(name, 503) for name in ODD]), [], 1


def main():
    binary, tool = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    check, wrong = validator(tool), 0
    with tempfile.TemporaryDirectory(prefix="r") as home:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "ROUTOR_STATE": home + "/s", "X_KEY": "sk-0123456789"}
        for name, text, args, code in cases(server.server_port):
            config, out = pathlib.Path(home, "routor.toml"), pathlib.Path(home, "junit.xml")
            config.write_text(text, encoding="utf-8")
            command = [binary, "check", "--config", str(config), "--format", "junit", *args]
            done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
            out.write_bytes(done.stdout)
            problem = None if done.returncode == code else f"exit {done.returncode}, not {code}: {done.stderr.decode()}"
            try:
                tree.fromstring(done.stdout)
                problem = problem or check(str(out))
            except tree.ParseError as broken:
                problem = f"not well-formed: {broken}"
            if problem:
                wrong += 1
                print(f"FAILED {name}: {problem}\n{done.stdout.decode()}", file=sys.stderr)
            else:
                print(f"ok {name}")
    # A schema that lets everything through proves nothing.
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as forged:
        forged.write('<testsuites><testsuite name="x" tests="one" failures="0" errors="0"/></testsuites>')
        forged.flush()
        if check(forged.name) is None:
            wrong += 1
            print("FAILED: the schema takes what is wrong", file=sys.stderr)
    print(f"validated with {tool}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

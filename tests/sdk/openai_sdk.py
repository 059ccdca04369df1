"""The official openai package against `routor serve`.

Starts the daemon, points the SDK at it, and looks at what an app would see:
plain, streamed and tool calls that fall back unseen in the demo, and calls
that fail everywhere and are sent exactly once.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import openai

import failing

BINARY = sys.argv[1]


def start(env, *args, state=None):
    """The daemon, its base URL and its state folder, which the demo chooses itself."""
    command = [BINARY, "serve", *args, "--port", "0"]
    daemon = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    threading.Timer(120, daemon.kill).start()
    base, seen = None, []
    for line in daemon.stderr:
        seen.append(line)
        state = state or next(iter(re.findall(r"--state (\S+) logs", line)), None)
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
        if found:
            base = found.group(1)
            break
    if not (base and state):
        sys.exit("the daemon did not start:\n" + "".join(seen))
    threading.Thread(target=lambda: [None for _ in daemon.stderr], daemon=True).start()
    return daemon, base, state


def records(env, state):
    """All requests that the daemon has recorded."""
    out = subprocess.run([BINARY, "--state", state, "logs", "--all", "--json"], env=env, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def settled(env, state):
    """All records, once no more come: the store is written a moment after a request ends."""
    seen = records(env, state)
    while True:
        time.sleep(0.5)
        again = records(env, state)
        if len(again) == len(seen):
            return again
        seen = again


def plain(client):
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hello"}])
    assert "demo-south" in answer.choices[0].message.content, answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0


def streamed(client):
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "hello"}], stream=True, stream_options=options
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("This is a simulated answer from demo-south"), text
    assert len(chunks) > 5, "the answer came in one piece"
    assert chunks[-1].usage.completion_tokens > 0


def tools(client):
    function = {"name": "look_up", "description": "looks up", "parameters": {"type": "object", "properties": {}}}
    asked = {"model": "auto", "messages": [{"role": "user", "content": "look"}], "tools": [{"type": "function", "function": function}]}
    answer = client.chat.completions.create(**asked)
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("look_up", "{}"), answer
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True) if chunk.choices]
    names = [call.function.name for delta in deltas for call in delta.tool_calls or []]
    assert names == ["look_up"], names


def failed_once(client, env, state):
    before = len(settled(env, state))
    try:
        client.chat.completions.create(
            model="demo-north/kimi-simulated",
            messages=[{"role": "user", "content": "hello"}],
            extra_body={"routor_profile": "direct"},
        )
    except openai.InternalServerError as error:
        assert error.status_code == 502, error
        assert error.code == "all_models_failed", error
        assert error.body["message"] == "All providers in the fallback chain failed. Please try again.", error.body
    else:
        raise AssertionError("a call that cannot succeed succeeded")
    after = settled(env, state)
    assert len(after) == before + 1, f"{len(after) - before} requests arrived for one call"
    assert after[-1]["outcome"] == "failed" and len(after[-1]["attempts"]) == 1, after[-1]


def assert_all_failed(error):
    assert error.status_code == 502 and error.code == "all_models_failed", error
    assert error.response.headers["x-should-retry"] == "false", error.response.headers


def sent_once(call, chain, env, state):
    """The call fails, and it has arrived once: one record, and one attempt at each provider at most."""
    before, calls = len(settled(env, state)), [provider.calls for provider in chain.values()]
    try:
        call()
    except openai.InternalServerError as error:
        assert_all_failed(error)
    else:
        raise AssertionError("a call that cannot succeed succeeded")
    after = settled(env, state)
    assert len(after) == before + 1, f"{len(after) - before} requests arrived for one call"
    made = [provider.calls - count for provider, count in zip(chain.values(), calls)]
    assert made == [1, 1, 1] and after[-1]["outcome"] == "failed", (made, after[-1])


def d136_a_default_client_sends_a_call_that_fails_everywhere_once(home):
    """Nothing is set at the client: its own retries are what would multiply the attempts."""
    chain, state = failing.providers(), os.path.join(home, "failing")
    file = os.path.join(home, "failing.toml")
    with open(file, "w") as out:
        out.write(failing.config(chain))
    env = {"PATH": os.environ["PATH"], "HOME": home, "ROUTOR_STATE": state}
    daemon, base, state = start(env, "--config", file, state=state)
    try:
        client = openai.OpenAI(base_url=base + "/v1", api_key="unused")
        assert client.max_retries > 0, "the SDK retries by itself"
        asked = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
        sent_once(lambda: client.chat.completions.create(**asked), chain, env, state)
        sent_once(lambda: list(client.chat.completions.create(**asked, stream=True)), chain, env, state)

        async def in_a_loop():
            async with openai.AsyncOpenAI(base_url=base + "/v1", api_key="unused") as other:
                await other.chat.completions.create(**asked)

        sent_once(lambda: asyncio.run(in_a_loop()), chain, env, state)
    finally:
        daemon.terminate()
        code = daemon.wait(timeout=20)
    assert code == 0, f"the daemon ended with {code}"


def unknown_model(client):
    try:
        client.chat.completions.create(model="demo-south/gemini-simulate", messages=[{"role": "user", "content": "hello"}])
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and "demo-south/gemini-simulated" in str(error), error
    else:
        raise AssertionError("an unknown model was answered")


def listed(client):
    ids = [model.id for model in client.models.list()]
    assert ids[:2] == ["auto", "NANO"] and "demo-south/gemini-simulated" in ids, ids
    assert client.models.retrieve("demo-south/gemini-simulated").owned_by == "demo-south"


def main():
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home}
        daemon, base, state = start(env, "--demo")
        passed = 0
        try:
            client = openai.OpenAI(base_url=base + "/v1", api_key="unused")
            failed = [lambda c: failed_once(c, env, state), lambda _: d136_a_default_client_sends_a_call_that_fails_everywhere_once(home)]
            checks = [plain, streamed, tools, *failed, unknown_model, listed]
            for check in checks:
                check(client)
                passed += 1
            # As the Rust tests do: the fault table reads it.
            print("test d136_a_default_client_sends_a_call_that_fails_everywhere_once ... ok")
        finally:
            daemon.terminate()
            code = daemon.wait(timeout=20)
        assert code == 0, f"the daemon ended with {code}"
        print(f"openai {openai.__version__}: {passed} passed, {len(checks) - passed} failed")


main()
sys.stdout.flush()
os._exit(0)

#!/usr/bin/env python3
"""Submits a block or a program to a Myriad service, follows it, and downloads its proof.

Needs Python 3.9 or later and `requests`. The key is in the variable MYRIAD_KEY, or in the file that
--key-file names; a service of the same user has made one: gateway/cookie in its data folder.

    submit.py --block block.json.gz --out block.stark.proof
    submit.py --program fibonacci.elf --input number --out fibonacci.stark.proof

The exit code is 0 when the proof was written, 1 when there is none, and 130 after Ctrl-C, which
leaves the job to the service: the same command finds it again. The service is not believed:
`myriad verify` says what the proof shows.
"""

import argparse
import json
import os
import pathlib
import random
import re
import sys
import time

import requests

# The service gives a sign of life every 15 seconds.
SILENCE_MAX = 45
# The service makes a job of a submission before it answers, and others may be before it.
SUBMIT_MAX = 900
# An interrupted job is not over: the service continues it at its next start.
OVER = {"done", "failed", "cancelled"}


class Refused(Exception):
    """The service does not do it. `status` is that of HTTP."""

    def __init__(self, status, detail, retry_after=None):
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after


def checked(response):
    """An answer that does what was asked for; or the words of its problem document (RFC 9457)."""
    if response.ok and not response.is_redirect:
        return response
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"the service has answered with the status {response.status_code}"
    retry_after = response.headers.get("Retry-After", "")
    raise Refused(response.status_code, detail, int(retry_after) if retry_after.isdigit() else None)


class Parts:
    """The body of a submission, read from its files as it is sent.

    The argument `files` of `requests` would read them into memory.
    """

    def __init__(self, request, files):
        self.boundary = f"myriad-{random.SystemRandom().getrandbits(128):032x}"
        self.pieces = [self.head("job", None, "application/json") + json.dumps(request).encode()]
        for field, path in files:
            self.pieces.append(b"\r\n" + self.head(field, path.name, "application/octet-stream"))
            self.pieces.append(path)
        self.pieces.append(f"\r\n--{self.boundary}--\r\n".encode())
        self.length = sum(len(p) if isinstance(p, bytes) else p.stat().st_size for p in self.pieces)

    def head(self, field, name, media_type):
        plain = "" if name is None else "".join(c if c.isascii() and c.isalnum() or c in "._-" else "_" for c in name)
        filename = f'; filename="{plain}"' if plain else ""
        text = (
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{field}"{filename}\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        )
        return text.encode()

    def __len__(self):
        return self.length

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            with piece.open("rb") as file:
                while chunk := file.read(1 << 20):
                    yield chunk


def submit(session, url, parts, idempotency_key):
    headers = {"Content-Type": f"multipart/form-data; boundary={parts.boundary}"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    response = session.post(f"{url}/v1/jobs", data=parts, headers=headers, timeout=(10, SUBMIT_MAX), allow_redirects=False)
    return checked(response).json()


def messages(response):
    """The server-sent events of a stream: the id, if there is one, and the data."""
    event_id, data = None, []
    for line in response.iter_lines(chunk_size=None):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value[1:] if value.startswith(" ") else value
        if not line:
            if data:
                yield event_id, json.loads("\n".join(data))
            event_id, data = None, []
        elif name == "data":
            data.append(value)
        elif name == "id":
            event_id = value


def follow(session, job):
    """The events of a job until it is over, over new connections where one is lost."""
    last, failures = None, 0
    while True:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        pause = None
        try:
            with session.get(f"{job}/events", headers=headers, timeout=(10, SILENCE_MAX), stream=True, allow_redirects=False) as response:
                for event_id, event in messages(checked(response)):
                    last, failures = event_id or last, 0
                    yield event
                    state = event.get("state") or event.get("now", {}).get("state")
                    if state in OVER:
                        return
        except Refused as refused:
            if refused.status not in (408, 429, 502, 503, 504):
                raise
            pause = refused.retry_after
        except requests.exceptions.RequestException as error:
            show(f"lost the service ({error}); coming back", sys.stderr)
        failures += 1
        if failures > 20:
            raise Refused(0, "the service has not been there for several minutes; the same command goes on later")
        time.sleep(pause or random.uniform(0.5, 1) * min(2**failures, 30))


def show(text, to=sys.stdout):
    """Prints a stranger's words without what steers a terminal."""
    print("".join(c if c.isprintable() else "?" for c in text), file=to, flush=True)


def line(event):
    """What is shown of an event."""
    kind = event["type"]
    if kind == "snapshot":
        job = event["now"]
        return f"{job['name']}: {job['state']}, {job['progress']['done']} of {job['progress'].get('tasks', '?')} tasks"
    if kind == "state":
        return event["state"]
    if kind == "planned":
        return f"{event['instructions']} instructions in {event['segments']} segments, {event['tasks']} tasks"
    if kind == "accepted":
        return f"{event['task']} accepted, {event['done']} done"
    if kind == "notice":
        return event["text"]
    return None


def download(session, address, path):
    """The file appears whole or not at all."""
    half = path.with_name(f"{path.name}.half")
    with session.get(address, timeout=(10, 60), stream=True, allow_redirects=False) as response:
        checked(response)
        with half.open("wb") as file:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
    half.replace(path)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the service")
    parser.add_argument("--key-file", type=pathlib.Path, help="a file with the key")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--block", type=pathlib.Path, action="append", help="a block; repeat it for a batch")
    what.add_argument("--program", type=pathlib.Path, help="a program")
    parser.add_argument("--input", type=pathlib.Path, action="append", default=[], help="an item of the program's input")
    parser.add_argument("--config", type=pathlib.Path, help="the program's openvm.toml")
    parser.add_argument("--name", help="the name of the job")
    parser.add_argument("--priority", type=int, default=0)
    parser.add_argument("--deadline", type=int, metavar="SECONDS")
    parser.add_argument("--idempotency-key", help="makes a repeated submission the same one")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the file of the proof")
    return parser.parse_args()


def run(args):
    url = args.url.rstrip("/")
    key = args.key_file.read_text().strip() if args.key_file else os.environ.get("MYRIAD_KEY", "")
    session = requests.Session()
    if key:
        session.headers["Authorization"] = f"Bearer {key}"
    # Otherwise a .netrc would replace the key.
    session.trust_env = False
    files = [("block", path) for path in args.block or []]
    if args.program:
        files += [("program", args.program), *(("input", path) for path in args.input)]
        files += [("config", args.config)] if args.config else []
    request = {"priority": args.priority, "name": args.name, "deadline_s": args.deadline}
    request = {name: value for name, value in request.items() if value is not None}
    job = submit(session, url, Parts(request, files), args.idempotency_key)
    if not re.fullmatch("[0-9a-f]{64}", job["id"]):
        raise Refused(0, "the service has answered with an id that is none")
    here = f"{url}/v1/jobs/{job['id']}"
    show(f"job {job['id']}")
    while job["state"] not in OVER:
        for event in follow(session, here):
            text = line(event)
            if text:
                show(text)
        job = checked(session.get(here, timeout=(10, 60), allow_redirects=False)).json()
    if job["state"] != "done":
        reason = job.get("error", {}).get("detail", "the same command continues it")
        raise Refused(0, f"the job is {job['state']}: {reason}")
    download(session, f"{here}/proof", args.out)
    if "baseline_href" in job["proof"]:
        name = args.out.name.removesuffix(".proof").removesuffix(".stark")
        download(session, f"{here}/baseline", args.out.with_name(f"{name}.baseline.json"))
    show(f"wrote {args.out}; verify it with: myriad verify {args.out} {job['proof']['verify']}")


def main():
    try:
        run(arguments())
    except (Refused, OSError, requests.exceptions.RequestException) as error:
        show(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("the job goes on; the same command finds it again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

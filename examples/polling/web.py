"""A web page that starts a job and asks after it: the standard library's server, one page, three small calls.

POST /jobs           starts one; answers its id at once, however long it takes, also while Redis is gone
GET /jobs/ID         how far it is, and its result
DELETE /jobs/ID      asks that it not run, or stop

python web.py [PORT]
"""

import json
import logging
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from jobs import q, report

from spoolq import NoResult, PayloadError, ResultTimeout, SpoolqError

log = logging.getLogger("web")
PAGE = Path(__file__).with_name("page.html").read_bytes()


def state(id):
    """What the page shows of a job. `status.error` and `status.why` name paths, addresses, values: they are for the log."""
    status = q.status(id)
    if status.error or status.why:
        log.warning("job %s is %s: %s", id, status, status.error or status.why)
    shown = {"id": id, "status": status, "progress": status.progress, "text": status.text}
    if status == "done":
        try:
            shown["result"] = q.result(id, timeout=2)
        except ResultTimeout as error:  # Redis has just gone, or is slow: the page asks again
            log.warning("%s", error)
            shown["status"] = "unknown"
        except NoResult as error:
            log.warning("%s", error)
            shown["text"] = "its result was not kept"
    return shown


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        if self.path == "/":
            self.answer(200, PAGE, "text/html; charset=utf-8")
        else:
            self.of_job(state)

    def do_POST(self):
        if self.path != "/jobs":
            self.answer(404, b"")
            return
        try:
            title = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))["title"]
        except (ValueError, LookupError, TypeError):
            self.say(400, {"error": 'a JSON object such as {"title": "Sales"} is needed'})
            return
        try:
            receipt = report.enqueue(str(title))
        except SpoolqError as error:  # neither Redis nor this disk took it
            log.warning("%s", error)
            self.say(503, {"error": "it can't be taken now; please try again later"})
        else:
            self.say(202, {"id": receipt.id, "status": receipt.status()})

    def do_DELETE(self):
        self.of_job(lambda id: {"id": id, "outcome": q.cancel(id).outcome})

    def of_job(self, answer):
        """The answer for the id in the path."""
        if not self.path.startswith("/jobs/"):
            self.answer(404, b"")
            return
        try:
            self.say(200, answer(unquote(self.path.removeprefix("/jobs/"))))
        except PayloadError:
            self.say(400, {"error": "that is no id of a job"})

    def say(self, code, document):
        self.answer(code, json.dumps(document).encode(), "application/json")

    def answer(self, code, body, kind="text/plain"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()

"""The least that takes AI Engine's `multipart` webhooks: verified, and written down as <job>.stl.

WEBHOOK_SECRET=whsec_... uvicorn --app-dir examples --port 9999 receiver_app:app
"""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from standardwebhooks import Webhook

app = FastAPI()


@app.post("/webhook")
async def webhook(request: Request) -> None:
    """Whatever is raised is answered 500, and the service sends it again by its schedule."""
    form = await request.form()
    event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(form["event"], dict(request.headers))
    if event["type"] == "generation.succeeded":
        Path(event["data"]["job_id"] + ".stl").write_bytes(await form["file"].read())

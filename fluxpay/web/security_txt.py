"""Where to report a weakness of this service, in the file that those who find one look for.

Knows the contact that the settings name; without one there is no file, since one without a
contact is none. Source: RFC 9116.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from fluxpay.core.payments import instant
from fluxpay.core.problems import Code, Refused
from fluxpay.web.context import SETTINGS
from fluxpay.web.problems import respond

# Told anew with each answer, so that it ends only once nobody serves it any more.
_VALID_DAYS: Final = 30


async def show(request: web.Request) -> web.Response:
    """`GET /.well-known/security.txt`."""
    contact = request.app[SETTINGS].security_contact
    if contact is None:
        return respond(Refused(Code.NOT_FOUND, "No contact is named here."), request)
    expires = datetime.now(UTC) + timedelta(days=_VALID_DAYS)
    lines = [f"Contact: {contact}", f"Expires: {instant(expires)}", "Preferred-Languages: en", ""]
    return web.Response(text="\n".join(lines), content_type="text/plain", charset="utf-8")

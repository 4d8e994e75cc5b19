"""Authentication and rate limiting: the key of a request, and how often its owner has asked lately.

Routes of the API depend on `known_caller`; what is open to everybody does not. Knows no jobs.
"""

from __future__ import annotations

import math
from base64 import b64decode
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ai_engine.errors import CrossOrigin, HostUnknown, KeyWrong, OperatorsOnly, RateExceeded
from ai_engine.logs import add_about
from ai_engine.outbound.addresses import LOCAL_SUFFIXES
from ai_engine.settings import Settings
from ai_engine.web.api_keys import ApiKeys
from ai_engine.web.bodies import Bodies
from ai_engine.web.limits import OpenPlaces, RefusalCounts, TokenBuckets, too_many_answers
from ai_engine.web.middleware import OWNER, at_end_of

_IPV6_HOME_CHARS = len("2001:0db8:0000:0000")
"""The half of an IPv6 address that a provider gives a customer, who chooses the rest freely."""
bearer = HTTPBearer(
    auto_error=False, description="A key of the service, where it has any: `python main.py new-key NAME`."
)


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: str | None
    """The name of their key. None: keys are off, and everybody is the same caller."""
    who: str = field(default="", compare=False)
    """Whose requests are counted together: the owner's, or without keys those of one address."""
    is_operator: bool = field(default=False, compare=False)
    """True for the names of OPERATORS, and for everybody where keys are off."""

    @property
    def sees(self) -> str | None:
        """Whose jobs they may know of; None: of all."""
        return None if self.is_operator else self.owner

    def may_see(self, owner: str | None) -> bool:
        """True when a job of `owner` is theirs to know of."""
        return self.sees is None or self.sees == owner


class Access:
    """The rules of one service."""

    def __init__(self, settings: Settings, keys: ApiKeys) -> None:
        self._keys = keys
        is_limited = settings.requests_per_minute > 0 and (bool(keys) or settings.is_published)
        self._buckets = TokenBuckets(settings.requests_per_minute) if is_limited else None
        self.open_answers = OpenPlaces(settings.max_open_requests_per_key if keys else 0, too_many_answers)
        self.bodies = Bodies(settings.max_bodies_bytes, settings.max_bodies_bytes_per_key)
        self.refusals = RefusalCounts()
        self._is_open_here = not keys and not settings.is_published and not settings.open_access
        self._operators = frozenset(settings.operators.replace(",", " ").split())
        self._public_name = urlsplit(settings.public_url or "").hostname

    def check_host(self, host: str) -> None:
        """Protects against DNS rebinding: an open API on loopback refuses a `Host` with a registrable name.

        The same-origin rule of browsers keeps pages of other sites out, unless such a site's name resolves to this
        machine; its name then stands in `Host`.

        Raises:
            HostUnknown: the name may be registered, and is not the one of PUBLIC_URL.
        """
        name = _name_of(host)
        if self._is_open_here and not _is_local(name) and name != self._public_name:
            raise HostUnknown(
                "Without API keys it is asked for by localhost, an address, a local name or PUBLIC_URL."
            )

    def owner_of(self, key: str | None) -> str | None:
        """The name of this key's owner; None for none, or an unknown one."""
        return self._keys.name_of(key) if key else None

    def caller(self, key: str | None, address: str) -> Caller:
        """Who asks with this key, from this address.

        Raises:
            KeyWrong: there are keys, and this is none of them.
            RateExceeded: its owner, or without keys its address, has asked too often.
        """
        owner = self.owner_of(key)
        # Guessing is counted too, by address: a guess never costs an owner one of their requests.
        who = _home_of(address) if owner is None else f"key {owner}"
        self._count(who)
        if self._keys and owner is None:
            raise KeyWrong("This key is not known." if key else "A key is needed: Authorization: Bearer ...")
        return Caller(owner, who, is_operator=owner is None or owner in self._operators)

    def _count(self, who: str) -> None:
        wait_s = self._buckets.take(who) if self._buckets else 0.0
        if wait_s > 0:
            raise RateExceeded("Too many requests in the last minute.", retry_after_s=math.ceil(wait_s))


def _name_of(host: str) -> str:
    """The name or address in a `Host` header, without brackets and port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.rstrip(".").lower()


def _is_local(name: str) -> bool:
    if "." not in name or name.endswith(LOCAL_SUFFIXES):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _home_of(address: str) -> str:
    """What of an address counts as one caller."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return parsed.ipv4_mapped.compressed if parsed.ipv4_mapped else parsed.exploded[:_IPV6_HOME_CHARS]


async def known_caller(
    request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Who asks with the key in the header; raises as `caller_of`."""
    return caller_of(request, sent.credentials if sent else None)


def caller_of(request: Request, key: str | None) -> Caller:
    """Who asks with `key`.

    Raises:
        HostUnknown: they ask for a service of another name.
        KeyWrong: they have no key, or a wrong one.
        RateExceeded: they have asked too often, or many of their answers are still open.
    """
    access: Access = request.app.state.access
    access.check_host(request.headers.get("host", ""))
    address = request.client.host if request.client else "unknown"
    request.scope[OWNER] = access.owner_of(key)
    caller = access.caller(key, address)
    add_about(caller=caller.owner)
    at_end_of(request, access.open_answers.take(caller.who))
    return caller


KnownCaller = Annotated[Caller, Depends(known_caller)]


def operator(caller: KnownCaller) -> Caller:
    """Who asks, if they may see everybody's jobs; raises OperatorsOnly."""
    if not caller.is_operator:
        raise OperatorsOnly("Your key is of none of OPERATORS.")
    return caller


KnownOperator = Annotated[Caller, Depends(operator)]


def keyed_router(route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Routes that a key is needed for, where there are keys."""
    return APIRouter(dependencies=[Depends(known_caller)], route_class=route_class)


def open_router() -> APIRouter:
    """Routes that need no key: none shows a job, unless a signed link is the permission."""
    return APIRouter()


def key_in_url(request: Request) -> str | None:
    """The key of a client that knows an address alone, http://anyone:KEY@host: it comes as the password of Basic."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(text, validate=True).decode().partition(":")[2] or None
    except ValueError:
        return None


def refuse_other_origins(request: Request, settings: Settings) -> None:
    """Protects against cross-site form posts: browsers send forms without asking first, as they do for JSON.

    A request with a key is no such form.

    Raises:
        CrossOrigin: a page of another origin had a browser send the form.
    """
    origin = request.headers.get("origin")
    if origin is None or "authorization" in request.headers:
        return
    if origin in settings.cors_origins.replace(",", " ").split():
        return
    own = {request.headers.get("host"), urlsplit(settings.public_url or "").netloc}
    if origin.partition("://")[2] not in own - {"", None}:
        raise CrossOrigin("A page of another origin may not send forms here; CORS_ORIGINS lets it.")

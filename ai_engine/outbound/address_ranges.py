"""SSRF address ranges: public IP addresses, and those at which clouds hand out credentials. Knows no URLs, no names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Clouds hand out credentials at these; some (168.63.129.16) are publicly routable on paper.
_METADATA_NETWORKS = tuple(
    IPv4Network(text)
    for text in ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32")
)
_METADATA_V6 = (IPv6Network("fd00:ec2::/32"), IPv6Network("fd20:ce::254/128"))

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_NOT_PUBLIC_V4 = tuple(IPv4Network(text) for text in ("192.0.0.0/24", "192.88.99.0/24"))
_NAT64 = IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = IPv6Network("::/96")


def is_public(address: Address) -> bool:
    """True when the address is globally routable, tunnelled IPv4 unwrapped first."""
    embedded = _embedded_v4(address)
    if embedded:
        return all(is_public(inner) for inner in embedded)
    if isinstance(address, IPv6Address):
        is_listed = address in _GLOBAL_UNICAST_V6 and not any(address in net for net in _NOT_PUBLIC_V6)
        return is_listed and address.is_global
    is_special = address.is_multicast or address.is_reserved or any(address in net for net in _NOT_PUBLIC_V4)
    return address.is_global and not is_special


def is_metadata(address: Address) -> bool:
    """True for the addresses at which clouds hand out credentials, tunnelled ones included."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _METADATA_NETWORKS)
    if any(address in network for network in _METADATA_V6):
        return True
    return any(is_metadata(inner) for inner in _embedded_v4(address))


def _embedded_v4(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address stands for; none for one that stands for itself."""
    if isinstance(address, IPv4Address):
        return ()
    if address.teredo is not None:
        return address.teredo
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    is_isatap = (number >> 32) & 0xFDFFFFFF == 0x5EFE
    is_compatible = address in _V4_COMPATIBLE and number > 1
    if address.ipv4_mapped is not None or address in _NAT64 or is_isatap or is_compatible:
        return (last,)
    return () if address.sixtofour is None else (address.sixtofour,)

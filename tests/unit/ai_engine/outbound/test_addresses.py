from __future__ import annotations

import threading

import pytest

from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, parse_exceptions

PUBLIC = "93.184.216.34"

BAD_URLS = """
http://127.0.0.1/
http://127.1/
http://127.0.1/
http://127.255.255.254/
http://2130706433/
http://017700000001/
http://0x7f000001/
http://0x7f.0.0.1/
http://0x7F.0x0.0x0.0x1/
http://0177.0.0.1/
http://0177.0.0.0x1/
http://127.0.0.01/
http://127.0.0.1./
http://127.0.0.1../
http://0/
http://0.0.0.0/
http://10.0.0.1/
http://10.1/
http://172.16.0.1/
http://172.31.255.255/
http://192.168.1.1/
http://192.168.257/
http://100.64.0.1/
http://100.100.100.200/latest/meta-data
http://169.254.169.254/latest/meta-data/
http://2852039166/
http://0xa9fea9fe/
http://169.254.170.2/v2/credentials
http://168.63.129.16/
http://192.0.0.192/
http://192.0.2.1/
http://192.88.99.1/
http://198.18.0.1/
http://198.51.100.7/
http://203.0.113.5/
http://224.0.0.1/
http://239.255.255.250/
http://240.0.0.1/
http://255.255.255.255/
http://256.256.256.256/
http://134744072/
http://1.2.3.4.5/
http://[::]/
http://[::1]/
http://[0:0:0:0:0:0:0:1]/
http://[::127.0.0.1]/
http://[::7f00:1]/
http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/
http://[::ffff:10.0.0.1]/
http://[::ffff:169.254.169.254]/
http://[64:ff9b::7f00:1]/
http://[64:ff9b::169.254.169.254]/
http://[64:ff9b:1::a00:1]/
http://[2002:7f00:1::]/
http://[2002:c0a8:101::1]/
http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/
http://[2001:0:7f00:1::]/
http://[2606:4700::5efe:127.0.0.1]/
http://[fc00::1]/
http://[fd00:ec2::254]/
http://[fd20:ce::254]/
http://[fe80::1]/
http://[fe80::1%25eth0]/
http://[fe80::1%eth0]/
http://[fec0::1]/
http://[ff02::1]/
http://[100::1]/
http://[2001:db8::1]/
http://[3fff::1]/
http://[::1
http://[1.2.3.4]/
http://localhost/
http://LOCALHOST:8080/
http://localhost./
http://app.localhost/
http://printer.local/
http://vault.internal/
http://host.docker.internal:9999/
http://router.home.arpa/
http://metadata/
http://metadata.google.internal/computeMetadata/v1/
http://ⓛocalhost/
http://\uff4cocalhost/
http://①②⑦.0.0.1/
http://\uff11\uff12\uff17.0.0.1/
http://127。0。0。1/
http://local\u00adhost/
http://\u200blocalhost/
http://user@example.com/
http://user:secret@example.com/
http://@example.com/
http://example.com@127.0.0.1/
http://example.com\\@127.0.0.1/
http://127.0.0.1\\.example.com/
http://exam%70le.com/
http://example.com%2f@127.0.0.1/
http://example.com%00.evil.test/
http://example.com./
http://example..com/
http://.example.com/
http://-example.com/
http://exa mple.com/
http://example.com:0/
http://example.com:22/
http://example.com:25/
http://example.com:6379/
http://example.com:65536/
http://example.com:99999/
http://example.com:-1/
http://example.com:+80/
http://example.com:\uff18\uff10/
http://example.com:80:80/
http:///path
http://:80/
http:/example.com/
http:example.com
//example.com/
example.com/cat.png
ftp://example.com/cat.png
file:///etc/passwd
gopher://127.0.0.1:6379/_FLUSHALL
javascript:alert(1)
ws://example.com/
unix:///var/run/docker.sock
data:text/html,hello
"""


def production(**changes: object) -> AddressPolicy:
    return AddressPolicy(**{"resolve": lambda host, port: [PUBLIC], **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [line for line in BAD_URLS.splitlines() if line])
def test_a_bad_address_is_refused_without_asking_the_name_service(url: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("the name service was asked")

    with pytest.raises(AddressForbidden):
        production(resolve=resolve).parse(url)


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\0", "\x7f", " "])
def test_control_characters_are_refused_wherever_they_stand(character: str) -> None:
    with pytest.raises(AddressForbidden):
        production().parse(f"http://example.com/a{character}b")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        [PUBLIC, "10.0.0.1"],
        ["2606:4700::1111", "::ffff:192.168.0.1"],
        ["169.254.169.254"],
        ["x"],
    ],
)
def test_a_name_with_any_private_address_is_refused_at_the_door(addresses: list[str]) -> None:
    with pytest.raises(AddressForbidden):
        production(resolve=lambda host, port: addresses).check_url("https://pictures.example/cat.png")


def test_a_name_that_does_not_resolve_yet_passes_the_door() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    assert production(resolve=resolve).check_url("https://later.example/hook").host == "later.example"


def test_a_name_service_that_hangs_does_not_hold_the_door() -> None:
    never = threading.Event()
    policy = production(resolve=lambda host, port: [PUBLIC] if never.wait() else [])
    with pytest.raises(TimeoutError):
        policy.addresses("slow.example", 80, timeout_s=0.05)
    never.set()


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("https://Example.COM/a%20b.png?x=1#part", "example.com", 443, "example.com"),
        ("http://1.1.1.1:8080/", "1.1.1.1", 8080, "1.1.1.1:8080"),
        ("http://[2606:4700::1111]/", "2606:4700::1111", 80, "[2606:4700::1111]"),
        ("http://[::ffff:1.1.1.1]/", "::ffff:1.1.1.1", 80, "[::ffff:1.1.1.1]"),
        ("http://[64:ff9b::101:101]/", "64:ff9b::101:101", 80, "[64:ff9b::101:101]"),
        ("https://faß.example/", "xn--fa-hia.example", 443, "xn--fa-hia.example"),
        ("https://my_bucket.s3.example/k?sig=a@b:c", "my_bucket.s3.example", 443, "my_bucket.s3.example"),
    ],
)
def test_a_public_address_is_allowed_as_it_is(url: str, host: str, port: int, authority: str) -> None:
    target = production().check_url(url)
    assert (target.host, target.port, target.authority) == (host, port, authority)


def test_the_request_line_keeps_path_and_query_and_drops_the_fragment() -> None:
    assert production().parse("https://example.com/a/b?c=d&e=%2F#f").path == b"/a/b?c=d&e=%2F"


def test_an_exception_opens_one_port_of_one_host() -> None:
    policy = production(
        resolve=lambda host, port: ["172.18.0.5"], exceptions=parse_exceptions("receiver:9999")
    )
    assert policy.check_url("http://receiver:9999/webhook").port == 9999
    with pytest.raises(AddressForbidden):
        policy.check_url("http://receiver:9998/webhook")
    with pytest.raises(AddressForbidden):
        policy.check_url("http://other:9999/webhook")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "metadata.goog"]
)
def test_metadata_stays_shut_even_for_an_exception(host: str) -> None:
    policy = production(exceptions=parse_exceptions(f"{host}:80"), is_development=True)
    with pytest.raises(AddressForbidden):
        policy.check_url(f"http://{host}/")


def test_a_name_under_an_exception_may_not_lead_to_metadata() -> None:
    policy = production(
        resolve=lambda host, port: ["169.254.169.254"], exceptions=parse_exceptions("nas.lan:80")
    )
    with pytest.raises(AddressForbidden):
        policy.check_url("http://nas.lan/")


@pytest.mark.parametrize("url", ["http://localhost:9999/", "http://127.0.0.1:9999/", "http://[::1]:9999/"])
def test_development_opens_loopback_and_nothing_else_that_is_private(url: str) -> None:
    policy = AddressPolicy(is_development=True)
    assert policy.check_url(url).port == 9999
    with pytest.raises(AddressForbidden):
        policy.check_url("http://192.168.1.1/")


def test_development_opens_the_docker_host_at_its_private_address() -> None:
    policy = production(resolve=lambda host, port: ["192.168.65.254"], is_development=True)
    assert policy.check_url("http://host.docker.internal:9999/webhook").host == "host.docker.internal"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
def test_in_a_container_the_callers_loopback_means_the_host(host: str) -> None:
    policy = production(
        resolve=lambda host, port: ["172.17.0.1"],
        rewrite_loopback_to="host.docker.internal",
        exceptions=parse_exceptions("host.docker.internal:9999"),
    )
    assert policy.check_url(f"http://{host}:9999/webhook").authority == "host.docker.internal:9999"


@pytest.mark.parametrize(
    "text",
    [
        "host",
        "host:",
        "host:http",
        "host:0",
        "host:70000",
        "http://10.0.0.5:80",
        "10.0.0.0/8:80",
        "*.lan:80",
        ":80",
        "a b:80",
        "host/path:80",
    ],
)
def test_an_exception_that_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        parse_exceptions(text)


def test_exceptions_are_read_with_spaces_brackets_and_capitals() -> None:
    assert parse_exceptions(" NAS.lan:80 , [fd12::1]:9000,") == {("nas.lan", 80), ("fd12::1", 9000)}

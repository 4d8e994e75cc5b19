from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from support.raw_server import answering, raw_server, redirect, response

from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy
from ai_engine.outbound.client import Answer, GuardedClient, RedirectForbidden, redirect_url
from ai_engine.outbound.content_coding import TransferTooLarge
from ai_engine.outbound.deadline import TransferFailed

PUBLIC = "93.184.216.34"


@pytest.fixture
def client() -> GuardedClient:
    return GuardedClient(AddressPolicy(is_development=True))


def fetch(client: GuardedClient, port: int, *, max_bytes: int = 1000, deadline_s: float = 5.0) -> bytes:
    return client.get_capped(f"http://127.0.0.1:{port}/cat.png", max_bytes, deadline_s)


def test_a_body_comes_back_whole(client: GuardedClient) -> None:
    with answering(response(b"picture")) as port:
        assert fetch(client, port) == b"picture"


def test_a_chunked_body_comes_back_whole(client: GuardedClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with answering(answer) as port:
        assert fetch(client, port) == b"abcde"


def test_the_request_names_the_host_and_carries_no_cookie_or_proxy(
    client: GuardedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    heads: list[bytes] = []

    def handle(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(response(b"x", "200 OK", "Set-Cookie: a=b"))

    with raw_server(handle) as port:
        fetch(client, port)
        fetch(client, port)
    assert heads[0].startswith(b"GET /cat.png HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n".encode() in heads[0]
    assert b"cookie" not in heads[1].lower()


def test_three_redirects_are_followed(client: GuardedClient) -> None:
    with answering(redirect("/b"), redirect("c"), redirect("/d?x=1"), response(b"found")) as port:
        assert fetch(client, port) == b"found"


def test_a_redirect_loop_ends(client: GuardedClient) -> None:
    with answering(redirect("/again")) as port, pytest.raises(TransferFailed, match="redirects"):
        fetch(client, port)


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "//user@localhost/",
        "http://0x7f.1/",
        "http://[",
        "http://[x]/",
    ],
)
def test_a_redirect_to_a_forbidden_address_is_refused(client: GuardedClient, location: str) -> None:
    with answering(redirect(location)) as port, pytest.raises(AddressForbidden):
        fetch(client, port)


def test_a_name_that_changes_its_answer_is_checked_where_the_socket_is_opened() -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    client = GuardedClient(AddressPolicy(resolve=lambda host, port: next(answers)))
    with answering(response(b"secret")) as port:
        client.policy.check_url(f"http://rebind.example:{port}/")
        with pytest.raises(AddressForbidden):
            client.get_capped(f"http://rebind.example:{port}/", 100, 5.0)


def test_the_connection_goes_to_the_checked_address_and_asks_no_second_time() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with answering(response(b"here")) as port:
        policy = AddressPolicy(resolve=resolve, exceptions=frozenset({("nas.example", port)}))
        assert GuardedClient(policy).get_capped(f"http://nas.example:{port}/", 100, 5.0) == b"here"
    assert asked == ["nas.example"]


@pytest.mark.parametrize(
    ("status", "is_retryable"), [("404 Not Found", False), ("500 Oops", True), ("429 Slow", True)]
)
def test_an_error_status_is_a_typed_failure(client: GuardedClient, status: str, is_retryable: bool) -> None:
    with answering(response(b"remote words", status)) as port, pytest.raises(TransferFailed) as caught:
        fetch(client, port)
    assert (caught.value.status, caught.value.is_retryable) == (int(status[:3]), is_retryable)
    assert "remote words" not in str(caught.value)


def test_an_announced_size_over_the_limit_is_refused_before_it_is_read(client: GuardedClient) -> None:
    with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n") as port,
        pytest.raises(TransferTooLarge),
    ):
        fetch(client, port)


def test_an_endless_body_is_cut_at_the_limit(client: GuardedClient) -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(handle) as port, pytest.raises(TransferTooLarge):
        fetch(client, port, max_bytes=1_000_000)


def trickle(first: bytes) -> tuple[threading.Event, object]:
    """A handler that sends `first`, then a byte every 20 ms until the event is set."""
    is_over = threading.Event()

    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(first)
        while not is_over.wait(0.02):
            connection.sendall(b"x")

    return is_over, handle


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_trickles_is_cut_by_the_total_deadline(client: GuardedClient, first: bytes) -> None:
    is_over, handle = trickle(first)
    with raw_server(handle) as port, pytest.raises(TransferFailed, match="longer than") as caught:  # type: ignore[arg-type]
        fetch(client, port, deadline_s=0.5)
    is_over.set()
    assert caught.value.is_retryable


def test_a_server_that_says_nothing_is_cut_by_the_total_deadline(client: GuardedClient) -> None:
    is_over = threading.Event()

    def say_nothing(connection: socket.socket, head: bytes) -> None:
        is_over.wait(30)

    with (
        raw_server(say_nothing) as port,
        pytest.raises(TransferFailed),
    ):
        fetch(client, port, deadline_s=0.2)
    is_over.set()


def test_a_peer_that_does_not_read_is_cut_by_the_total_deadline(client: GuardedClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TransferFailed, match="longer than"):
            client.post(url, bytes(64 << 20), headers={}, deadline_s=0.5)


def test_a_tls_handshake_that_hangs_is_cut_by_the_total_deadline(client: GuardedClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TransferFailed):
        client.get_capped(f"https://127.0.0.1:{listener.getsockname()[1]}/", 100, 0.5)


def test_name_and_certificate_stay_with_the_host_while_the_connection_goes_to_the_checked_address() -> None:
    hellos: list[bytes] = []

    def read_hello(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            hellos.append(connection.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        reader = threading.Thread(target=read_hello, args=(listener,))
        reader.start()
        policy = AddressPolicy(
            resolve=lambda host, port: ["127.0.0.1"], exceptions=frozenset({("nas.example", port)})
        )
        client = GuardedClient(policy)
        with pytest.raises(TransferFailed, match="secure connection"):
            client.get_capped(f"https://nas.example:{port}/", 100, 5.0)
        reader.join()
    assert b"nas.example" in hellos[0]
    assert client._ssl_context.check_hostname
    assert client._ssl_context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_what_is_no_whole_http_answer_is_a_typed_failure(client: GuardedClient, answer: bytes) -> None:
    with answering(answer) as port, pytest.raises(TransferFailed):
        fetch(client, port)


def test_a_closed_port_is_a_typed_failure(client: GuardedClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransferFailed, match="does not accept"):
        fetch(client, port)


def test_a_host_that_does_not_exist_is_a_typed_failure() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(TransferFailed, match="resolved"):
        GuardedClient(AddressPolicy(resolve=resolve)).get_capped("http://nowhere.example/", 100, 5.0)


def pieces() -> Iterator[bytes]:
    yield b"solid "
    yield b"ground"


@pytest.mark.parametrize(("content", "length"), [(b"solid ground", None), (pieces(), 12)])
def test_a_post_sends_its_exact_length_and_the_callers_headers(
    client: GuardedClient, content: bytes | Iterator[bytes], length: int | None
) -> None:
    received = bytearray()

    def handle(connection: socket.socket, head: bytes) -> None:
        received.extend(head)
        while not received.endswith(b"solid ground"):
            received.extend(connection.recv(100))
        connection.sendall(response(b"thanks", "202 Accepted", "Retry-After: 7"))

    with raw_server(handle) as port:
        answer = client.post(
            f"http://127.0.0.1:{port}/hook",
            content,
            headers={"webhook-id": "job-1"},
            deadline_s=60.0,
            content_length=length,
        )
    assert (answer.status, answer.is_success, answer.body) == (202, True, b"thanks")
    assert answer.headers["retry-after"] == "7"
    assert b"POST /hook HTTP/1.1\r\n" in received
    assert b"Content-Length: 12\r\n" in received
    assert b"webhook-id: job-1\r\n" in received
    assert b"chunked" not in received


def test_a_post_follows_no_redirect(client: GuardedClient) -> None:
    with answering(redirect("http://127.0.0.1:1/")) as port:
        assert client.post(f"http://127.0.0.1:{port}/", b"{}", headers={}, deadline_s=60.0).status == 302


def test_a_post_to_a_forbidden_address_is_refused(client: GuardedClient) -> None:
    with pytest.raises(AddressForbidden):
        client.post("http://192.168.1.1/", b"{}", headers={}, deadline_s=60.0)


def test_an_answers_endless_body_is_cut_and_the_status_kept(client: GuardedClient) -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 4096)

    with raw_server(handle) as port:
        answer = client.post(f"http://127.0.0.1:{port}/", b"{}", headers={}, deadline_s=60.0)
    assert (answer.status, len(answer.body)) == (200, 4096)


def test_an_early_refusal_of_a_large_body_is_read(client: GuardedClient) -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(response(b"", "413 Too Large"))
        connection.shutdown(socket.SHUT_RD)

    with raw_server(handle) as port:
        answer = client.post(f"http://127.0.0.1:{port}/", bytes(8 << 20), headers={}, deadline_s=60.0)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("\\up\\x.png", "https://a.example/up/x.png"),
        ("///b.example/x.png", "https://b.example/x.png"),
        ("\\\\b.example\\x.png", "https://b.example/x.png"),
        ("HTTPS:\\b.example", "https://a.example/b.example"),
        ("https:////b.example/x", "https://b.example/x"),
        ("x?y=//z\\", "https://a.example/dir/x?y=//z%5C"),
        ("?y", "https://a.example/dir/page?y"),
    ],
)
def test_slashes_of_a_redirect_are_read_as_browsers_read_them(location: str, url: str) -> None:
    assert redirect_url("https://a.example/dir/page", Answer(307, {"location": location}, b"")) == url


def test_a_backslash_hides_no_address(client: GuardedClient) -> None:
    with answering(redirect("http:\\\\10.0.0.1\\x.png")) as port, pytest.raises(RedirectForbidden):
        client.get_capped(f"http://127.0.0.1:{port}/", 1000, 5.0)

"""Tests for `tlsgate.core.http.forward`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http.fields import Fields
from tlsgate.core.http.forward import (
    Rules,
    Who,
    interim_fields,
    phrase,
    read_rules,
    request_bytes,
    response_bytes,
    response_fields,
    switch_bytes,
)
from tlsgate.core.http.requests import RequestHead, judge
from tlsgate.core.http.responses import judge as judge_response

WHO = Who(user="alice", roles=("dev", "ops"), traits={"logins": ("al",)}, address="192.0.2.7")
OWN = [
    b"x-forwarded-proto: https",
    b"x-forwarded-host: a.test:8443",
    b"x-forwarded-port: 8443",
    b"x-forwarded-ssl: on",
    b"x-tlsgate-user: alice",
    b"x-tlsgate-roles: dev,ops",
    b"x-forwarded-for: 192.0.2.7",
    b"x-real-ip: 192.0.2.7",
]


def ask(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> RequestHead:
    """A request to a.test."""
    return judge(method, b"/p?q", ((b"host", b"a.test:8443"), *fields), b"1.1")


def lines(head: RequestHead, who: Who = WHO, rules: Rules | None = None) -> list[bytes]:
    """What goes to the target, line by line; both last ones are empty."""
    return request_bytes(head, head.fields, who, rules or Rules()).split(b"\r\n")


class RequestTests(SynchronousTestCase):
    """What the target reads."""

    def test_whole(self) -> None:
        """Written anew: the client's own fields, then ours."""
        found = lines(ask((b"accept", b"*/*"), (b"x-custom", b"1")))
        start = [b"GET /p?q HTTP/1.1", b"host: a.test:8443", b"accept: */*", b"x-custom: 1"]
        self.assertEqual(found, [*start, *OWN, b"", b""])

    def test_nothing_in_our_name(self) -> None:
        """A client sets nothing of ours, in no spelling, and `Connection` takes none away."""
        names = [b"x-forwarded-for", b"x_tlsgate_user", b"X.Forwarded.Host", b"remote_user"]
        sent = [(name.lower(), b"evil") for name in names]
        named = (b"connection", b"x-tlsgate-user, x-forwarded-for, close")
        self.assertEqual(lines(ask(*sent, named))[2:-2], OWN)

    def test_s19_forwarded(self) -> None:
        """S19: where a request is from is said by the gateway, in whatever spelling it came."""
        for name in (
            *(b"x-forwarded-for", b"x_forwarded_for", b"forwarded", b"x-real-ip", b"x.real.ip"),
            *(b"x-envoy-external-address", b"true-client-ip", b"cf-connecting-ip"),
            *(b"x-client-ip", b"x-cluster-client-ip", b"client-ip", b"x-forwarded-proto"),
        ):
            for value in (b"10.0.0.1", b"10.0.0.1, 127.0.0.1", b"for=10.0.0.1", b""):
                self.assertEqual(lines(ask((name, value), (name, value)))[2:-2], OWN, name)

    def test_s20_hops(self) -> None:
        """S20: `Connection` names none of the gateway's fields away, alone or together."""
        names = [one.partition(b":")[0] for one in OWN]
        for named in (*names, b", ".join(names), b", ".join(names).upper()):
            self.assertEqual(lines(ask((b"connection", named)))[2:-2], OWN)

    def test_trailers(self) -> None:
        """What may stand behind a body is named; that its client reads such is said on."""
        fields = ((b"te", b"trailers"), (b"connection", b"te"))
        self.assertEqual(lines(ask(*fields))[-4:-2], [b"connection: te", b"te: trailers"])
        head = ask((b"transfer-encoding", b"chunked"), (b"trailer", b"x-sum, host"), method=b"PUT")
        self.assertEqual(lines(head)[-3], b"trailer: x-sum")

    def test_framing(self) -> None:
        """Length and encoding are written by us, once."""
        body = lines(ask((b"content-length", b"3"), (b"expect", b"100-continue"), method=b"PUT"))
        self.assertEqual(body[-4:-2], [b"content-length: 3", b"expect: 100-continue"])
        chunked = lines(ask((b"transfer-encoding", b"chunked"), method=b"PUT"))
        self.assertEqual(chunked[-3], b"transfer-encoding: chunked")
        self.assertEqual(lines(ask(method=b"POST"))[-3], b"content-length: 0")

    def test_upgrade(self) -> None:
        """The change of protocol is asked for anew."""
        head = evolve(ask(), upgrade=b"websocket")
        self.assertEqual(lines(head)[-4:-2], [b"connection: upgrade", b"upgrade: websocket"])

    def test_rules(self) -> None:
        """The operator's fields replace ours and the client's; templates give each value."""
        rules = read_rules(
            "",
            '["Host: inner.test", "X-Login: {{internal.logins}}", "X-None: {{internal.none}}", '
            '"X-Tlsgate-Roles: fixed", "Connection: x", "no colon", "b@d: x"]',
        )
        found = lines(ask((b"x_login", b"evil"), (b"x-none", b"evil")), rules=rules)
        self.assertEqual(found[1], b"host: inner.test")
        roles = b"x-tlsgate-roles: dev,ops"
        own = [one for one in OWN if one != roles]
        self.assertEqual(found[2:-2], [*own, b"x-login: al", b"x-tlsgate-roles: fixed"])

    def test_host_without_value(self) -> None:
        """A template for Host that gives nothing leaves the client's."""
        rules = read_rules("", '["Host: {{internal.none}}"]')
        self.assertEqual(lines(ask(), rules=rules)[1], b"host: a.test:8443")

    def test_odd_names(self) -> None:
        """A user's name cannot end a line."""
        who = Who(user="a\r\nb: \u00e9", token=b"t.o.k")
        found = lines(ask(), who)
        self.assertIn(b"x-tlsgate-user: a??b: ??", found)
        self.assertIn(b"x-tlsgate-jwt-assertion: t.o.k", found)
        self.assertFalse([one for one in found if one.startswith((b"b:", b"x-real-ip"))])

    def test_odd_rules(self) -> None:
        """What is no list of text is no rule."""
        for told in ("", "x", "{}", "[1]"):
            self.assertEqual(read_rules(told, told), Rules())


class ResponseTests(SynchronousTestCase):
    """What the client reads."""

    def test_interim(self) -> None:
        """Hints pass; nothing that stays with the client, or is of one hop."""
        fields: Fields = ((b"link", b"</a>"), (b"set-cookie", b"a=b"), (b"connection", b"x"))
        self.assertEqual(interim_fields(judge_response(103, fields, b"1.1", b"GET")), [fields[0]])

    def test_fields(self) -> None:
        """Fields of one hop and of the target's own address stay behind; cookies do not."""
        fields: Fields = (
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"alt-svc", b"h3"),
            (b"connection", b"x"),
            (b"x", b"y"),
            (b"content-length", b"3"),
        )
        answer = judge_response(200, fields, b"1.1", b"GET")
        want = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"cache-control", b"private")]
        self.assertEqual(response_fields(answer, ask(), Rules()), want)

    def test_cookie_tossing(self) -> None:
        """No application sets a cookie for its neighbours or the console, nor one of ours."""
        for given, want in (
            (b"a=1; Path=/", b"a=1; Path=/"),
            (b"a=1; Domain=gw.test; Secure", b"a=1; Secure"),
            (b"a=1;\tDOMAIN\t=.gw.test;domain=test", b"a=1"),
            (b"a=1; Domain", b"a=1"),
            (b"domain=1; x-domain=y", b"domain=1; x-domain=y"),
            (b"__Host-tlsgate-app=x; Secure", None),
            (b" =__host-TLSGATE=x; Domain=gw.test", None),
        ):
            fields: Fields = ((b"set-cookie", given), (b"sec-websocket-accept", b"x"))
            found = response_fields(judge_response(200, fields, b"1.1", b"GET"), ask(), Rules())
            told = [value for name, value in found if name == b"set-cookie"]
            self.assertEqual(told, [want] if want else [])
            made = switch_bytes(judge_response(101, fields, b"1.1", b"GET"), b"websocket")
            cookies = [one for one in made.split(b"\r\n") if one.startswith(b"set-cookie")]
            self.assertEqual(cookies, [b"set-cookie: " + want] if want else [])

    def test_cached_for_one(self) -> None:
        """No cache in front of the gateway shares what somebody has got who may have it."""
        for given, want in (
            (b"public, max-age=60, s-maxage=9", b"private, max-age=60"),
            (b"Private", b"private"),
            (b"no-store", b"no-store"),
            (b"no-cache", b"private, no-cache"),
        ):
            fields: Fields = ((b"cache-control", given), (b"cdn-cache-control", b"max-age=9"))
            answer = judge_response(200, fields, b"1.1", b"GET")
            found = response_fields(answer, ask(), Rules())
            self.assertEqual(found, [(b"cache-control", want)])

    def test_redirects(self) -> None:
        """Redirects to the application's own hosts lead to where the client is (T5.6)."""
        rules = read_rules('["Inner.test", "10.0.0.1:8080"]', "")
        for given, want in (
            (b"http://inner.test/a?b", b"https://a.test:8443/a?b"),
            (b"http://INNER.test:81", b"https://a.test:8443"),
            (b"https://10.0.0.1:8080/", b"https://a.test:8443/"),
            (b"https://x@inner.test/", b"https://a.test:8443/"),
            (b"http://10.0.0.1:9/", b"http://10.0.0.1:9/"),
            (b"https://other.test/", b"https://other.test/"),
            (b"/relative", b"/relative"),
        ):
            fields: Fields = ((b"location", given), (b"cache-control", b"no-store"))
            answer = judge_response(302, fields, b"1.1", b"GET")
            found = response_fields(answer, ask(), rules)
            self.assertEqual(found, [(b"location", want), (b"cache-control", b"no-store")])

    def test_bytes(self) -> None:
        """Heads for HTTP/1.1."""
        made = response_bytes(200, [(b"a", b"b")], 3, chunked=False, close=True)
        self.assertEqual(
            made, b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
        )
        made = response_bytes(299, [], None, chunked=True, close=False)
        self.assertEqual(made, b"HTTP/1.1 299 Answer\r\ntransfer-encoding: chunked\r\n\r\n")
        self.assertEqual(phrase(404), b"Not Found")

    def test_switch(self) -> None:
        """A 101 keeps what the protocol needs."""
        fields: Fields = (
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", b"x"),
        )
        answer = judge_response(101, fields, b"1.1", b"GET")
        self.assertEqual(
            switch_bytes(answer, b"websocket"),
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-accept: x\r\n\r\n",
        )

"""F12 and F13 of the reliability page: outages, and ids that nobody knows."""

from __future__ import annotations

import json
import ssl
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mesh_stream.errors import (
    AccessDeniedError,
    PayloadError,
    PlatformError,
    RegistryError,
    SchemaRefusedError,
)
from mesh_stream.kafka.references import MAX_SCHEMA_BYTES
from mesh_stream.kafka.registry import (
    CONFIRM_EVERY_SECONDS,
    CONFIRM_SECONDS,
    MAX_UNKNOWN,
    UNKNOWN_SECONDS,
    SchemaRegistry,
)
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.kafka.certificate import certificate
from tests.kafka.faulty_registry import Exchange, FaultyRegistry, faulty_registry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}


@dataclass
class Clock:
    """Time that passes only while somebody waits."""

    now: float = 1_000.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def knows(exchange: Exchange) -> None:
    exchange.answer(200, {"schema": json.dumps(ORDER)})


def unknown(exchange: Exchange) -> None:
    exchange.answer(404, {"error_code": 40403, "message": "Schema not found"})


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with faulty_registry(knows) as running:
        yield running


def settings_for(url: str, **env: str) -> Settings:
    return Settings.load({"MESH_BOOTSTRAP_SERVERS": "127.0.0.1:1", "MESH_REGISTRY_URL": url, **env})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observed() -> Counter[str]:
    return Counter()


@pytest.fixture
def registry(
    server: FaultyRegistry, clock: Clock, observed: Counter[str]
) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(
        settings_for(server.url),
        observe=lambda code: observed.update([code]),
        clock=clock,
        pause=clock.pause,
    ) as client:
        yield client


class TestKnownIds:
    def test_a_schema_is_asked_for_once_however_often_it_is_needed(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        for _ in range(10_000):
            clock.now += 1
            assert registry.writer_schema(7) == ORDER

        assert server.paths == ["GET /schemas/ids/7"]

    @pytest.mark.parametrize(
        "outage",
        [
            lambda exchange: exchange.answer(500, {}),
            lambda exchange: exchange.answer(404, {"error_code": 40403}),
            lambda exchange: exchange.answer(401, {}),
            lambda exchange: exchange.truncate(200, b"{"),
        ],
    )
    def test_what_was_seen_once_works_on_through_an_outage(
        self,
        server: FaultyRegistry,
        registry: SchemaRegistry,
        clock: Clock,
        outage: Callable[[Exchange], None],
    ) -> None:
        registry.writer_schema(7)
        server.behaviour = outage
        clock.now += 1_000_000

        assert registry.writer_schema(7) == ORDER

    def test_threads_that_need_one_schema_ask_once(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        all_wait = threading.Barrier(8)
        found: list[object] = []

        def need() -> None:
            all_wait.wait(10)
            found.append(registry.writer_schema(7))

        threads = [threading.Thread(target=need) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

        assert found == [ORDER] * 8
        assert server.paths == ["GET /schemas/ids/7"]

    def test_a_schema_is_found_by_its_guid(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        guid = uuid.uuid4()

        assert registry.writer_schema(guid) == ORDER
        assert registry.writer_schema(guid) == ORDER
        assert server.paths == [f"GET /schemas/guids/{guid}"]


class TestUnknownIds:
    def test_an_unknown_id_is_asked_for_and_confirmed_once_a_minute(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        server.behaviour = unknown
        for _ in range(10_000):
            assert registry.writer_schema(7) is None
        assert server.paths == ["GET /schemas/ids/7"] * 2
        assert clock.waits == [CONFIRM_SECONDS]

        clock.now += UNKNOWN_SECONDS - 1
        assert registry.writer_schema(7) is None
        assert len(server.paths) == 2

        clock.now += 1
        assert registry.writer_schema(7) is None
        assert len(server.paths) == 4

    def test_a_flood_of_made_up_ids_costs_one_request_each_and_hardly_a_wait(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        server.behaviour = unknown
        for schema_id in range(200):
            assert registry.writer_schema(schema_id) is None

        assert len(server.paths) == 201
        assert clock.waits == [CONFIRM_SECONDS]

        clock.now += CONFIRM_EVERY_SECONDS
        registry.writer_schema(200)
        assert clock.waits == [CONFIRM_SECONDS] * 2

    def test_an_id_that_a_replica_does_not_know_yet_is_found(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        def lagging(exchange: Exchange) -> None:
            (unknown if len(server.requests) == 1 else knows)(exchange)

        server.behaviour = lagging

        assert registry.writer_schema(7) == ORDER

    def test_an_id_that_is_registered_later_is_found_after_a_minute(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        server.behaviour = unknown
        assert registry.writer_schema(7) is None
        server.behaviour = knows
        assert registry.writer_schema(7) is None

        clock.now += UNKNOWN_SECONDS

        assert registry.writer_schema(7) == ORDER

    def test_what_is_remembered_of_made_up_ids_is_bounded(
        self, registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(registry, "_by_id", lambda _schema_id: None)
        for schema_id in range(MAX_UNKNOWN + 100):
            registry.writer_schema(schema_id)

        assert len(registry._unusable) == MAX_UNKNOWN

    @pytest.mark.parametrize(
        "body", [b"", b"<html>no such page</html>", b'{"error_code": 404}', b"[]"]
    )
    def test_a_404_of_something_else_says_nothing_about_the_id(
        self, server: FaultyRegistry, registry: SchemaRegistry, body: bytes
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer_bytes(404, body)
        with pytest.raises(RegistryError, match="check the path in MESH_REGISTRY_URL"):
            registry.writer_schema(7)

        server.behaviour = knows
        assert registry.writer_schema(7) == ORDER

    def test_a_registry_without_guids_knows_none(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        def without_guids(exchange: Exchange) -> None:
            if exchange.path == "/schemas/types":
                exchange.answer(200, ["AVRO"])
            else:
                exchange.answer_bytes(404, b"")

        server.behaviour = without_guids

        assert registry.writer_schema(uuid.uuid4()) is None

    def test_a_proxy_in_place_of_the_registry_says_nothing_about_a_guid(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer_bytes(404, b"")

        with pytest.raises(RegistryError):
            registry.writer_schema(uuid.uuid4())


class TestUnusableSchemas:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ({"schema": "syntax = 'proto3';", "schemaType": "PROTOBUF"}, "PROTOBUF"),
            ({"schema": "{"}, "no JSON"),
            ({"schema": json.dumps("x" * MAX_SCHEMA_BYTES)}, "larger than"),
            ({}, "no schema"),
        ],
    )
    def test_a_schema_that_cannot_be_used_is_the_records_fault_and_remembered(
        self,
        server: FaultyRegistry,
        registry: SchemaRegistry,
        answer: dict[str, str],
        reason: str,
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(200, answer)
        for _ in range(100):
            with pytest.raises(PayloadError, match=reason) as caught:
                registry.writer_schema(7)
            assert caught.value.rule == "unsafe_schema"

        assert server.paths == ["GET /schemas/ids/7"]

    def test_references_are_looked_up(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        money = {"type": "record", "name": "Money", "fields": [{"name": "cents", "type": "long"}]}
        outer = {"type": "record", "name": "Bill", "fields": [{"name": "sum", "type": "Money"}]}
        answers = {
            "/schemas/ids/7": {
                "schema": json.dumps(outer),
                "references": [{"name": "Money", "subject": "a/b", "version": 2}],
            },
            "/subjects/a%2Fb/versions/2": {"schema": json.dumps(money)},
        }
        server.behaviour = lambda exchange: exchange.answer(200, answers[exchange.path])

        assert registry.writer_schema(7) == {
            **outer,
            "fields": [{"name": "sum", "type": {**money, "namespace": ""}}],
        }

    def test_an_outage_while_references_are_looked_up_says_nothing_about_the_record(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        answer = {
            "schema": json.dumps(ORDER),
            "references": [{"name": "Money", "subject": "money", "version": 1}],
        }

        def half(exchange: Exchange) -> None:
            if exchange.path.startswith("/schemas"):
                exchange.answer(200, answer)
            else:
                exchange.answer(503, {})

        server.behaviour = half
        with pytest.raises(RegistryError):
            registry.writer_schema(7)

        server.behaviour = knows
        assert registry.writer_schema(7) == ORDER


class TestOutages:
    """Each is a platform error: waited out by the caller, never the record's fault."""

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
    def test_a_busy_or_broken_registry_is_asked_twice(
        self,
        server: FaultyRegistry,
        registry: SchemaRegistry,
        clock: Clock,
        observed: Counter[str],
        status: int,
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(status, {"message": "not now"})

        with pytest.raises(RegistryError, match=f"{status}: not now"):
            registry.writer_schema(7)

        assert len(server.requests) == 2
        assert observed == {str(status): 2}
        assert [0 < wait < 0.5 for wait in clock.waits] == [True]

    def test_the_second_try_may_succeed(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        def recovering(exchange: Exchange) -> None:
            if len(server.requests) == 1:
                exchange.answer(503, {})
            else:
                knows(exchange)

        server.behaviour = recovering

        assert registry.writer_schema(7) == ORDER

    def test_a_registry_says_when_to_come_back(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(429, {}, {"Retry-After": "2"})

        with pytest.raises(RegistryError):
            registry.writer_schema(7)

        assert clock.waits == [2.0]

    @pytest.mark.parametrize(
        "later", ["3600", "999999999999999999", "Wed, 21 Oct 2099 07:28:00 GMT"]
    )
    def test_nobody_waits_longer_than_the_budget_for_a_registry(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock, later: str
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(429, {}, {"Retry-After": later})

        with pytest.raises(RegistryError):
            registry.writer_schema(7)

        assert sum(clock.waits) < 1

    @pytest.mark.parametrize(
        ("behaviour", "code"),
        [
            (lambda exchange: exchange.truncate(200, b'{"schema": "'), "unreachable"),
            (lambda exchange: exchange.answer_bytes(200, b" " * 2_000_000), "unreachable"),
            (lambda exchange: exchange.answer_bytes(200, b"<html>"), "200"),
            (lambda exchange: exchange.answer_bytes(200, b"[" * 100_000), "200"),
            (lambda exchange: exchange.answer(302, {}, {"Location": "http://127.0.0.1:1/"}), "302"),
            (lambda exchange: exchange.answer(400, {}), "400"),
            (Exchange.hang_up, "unreachable"),
            (lambda exchange: exchange.answer(200, None), "200"),
        ],
    )
    def test_an_answer_that_is_none_is_an_outage(
        self,
        server: FaultyRegistry,
        registry: SchemaRegistry,
        observed: Counter[str],
        behaviour: Callable[[Exchange], None],
        code: str,
    ) -> None:
        server.behaviour = behaviour
        with pytest.raises(RegistryError):
            registry.writer_schema(7)
        assert set(observed) == {code}

        server.behaviour = knows
        assert registry.writer_schema(7) == ORDER

    def test_a_refused_connection_is_an_outage(self, observed: Counter[str]) -> None:
        with faulty_registry(knows) as gone:
            url = gone.url
        with (
            SchemaRegistry(
                settings_for(url), observe=lambda code: observed.update([code])
            ) as registry,
            pytest.raises(RegistryError, match="had no answer"),
        ):
            registry.writer_schema(7)

        assert observed == {"unreachable": 2}

    def test_a_hanging_registry_is_not_waited_for_twice(
        self, server: FaultyRegistry, observed: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mesh_stream.kafka.registry_http.READ_SECONDS", 0.4)
        monkeypatch.setattr("mesh_stream.kafka.registry_http.BUDGET_SECONDS", 0.6)
        server.behaviour = Exchange.hang
        with (
            SchemaRegistry(
                settings_for(server.url), observe=lambda code: observed.update([code])
            ) as registry,
            pytest.raises(RegistryError),
        ):
            registry.writer_schema(7)

        assert observed == {"timeout": 1}

    def test_a_registry_that_was_slow_to_fail_rests_for_as_long(
        self, server: FaultyRegistry, registry: SchemaRegistry, clock: Clock
    ) -> None:
        def slowly(exchange: Exchange) -> None:
            clock.now += 5
            exchange.answer(503, {})

        server.behaviour = slowly
        with pytest.raises(RegistryError):
            registry.writer_schema(7)
        asked, server.behaviour = len(server.paths), knows
        for schema_id in (7, 8):
            with pytest.raises(RegistryError, match="503"):
                registry.writer_schema(schema_id)
        assert len(server.paths) == asked

        clock.now += 6
        assert registry.writer_schema(7) == ORDER

    def test_a_dripping_registry_is_not_listened_to_for_ever(
        self, server: FaultyRegistry, observed: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mesh_stream.kafka.registry_http.BUDGET_SECONDS", 0.3)
        server.behaviour = lambda exchange: exchange.drip(0.02)
        with (
            SchemaRegistry(
                settings_for(server.url), observe=lambda code: observed.update([code])
            ) as registry,
            pytest.raises(RegistryError, match="too slowly"),
        ):
            registry.writer_schema(7)

        assert observed == {"timeout": 1}

    def test_the_machines_proxy_is_not_asked(
        self, server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        with SchemaRegistry(settings_for(server.url)) as registry:
            assert registry.writer_schema(7) == ORDER


class TestCredentials:
    CANARY = "canary-7f3a9c"

    def test_user_and_password_are_sent_to_the_registry(self, server: FaultyRegistry) -> None:
        with SchemaRegistry(
            settings_for(server.url, MESH_REGISTRY_AUTH="user:pass:word")
        ) as registry:
            registry.writer_schema(7)

        assert server.requests[0].headers["Authorization"] == "Basic dXNlcjpwYXNzOndvcmQ="

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_credentials_are_told_at_once_and_never_shown(
        self, server: FaultyRegistry, status: int
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(status, {"message": "who are you"})
        url = server.url.replace("://", f"://mesh:{self.CANARY}@")
        with (
            SchemaRegistry(settings_for(url)) as registry,
            pytest.raises(AccessDeniedError, match="MESH_REGISTRY_AUTH") as caught,
        ):
            registry.writer_schema(7)

        assert caught.value.exit_code == 4
        assert self.CANARY not in repr(caught.getrepr(chain=True, showlocals=False))
        assert len(server.requests) == 1

    def test_no_failure_shows_credentials(
        self, server: FaultyRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(0)
        url = server.url.replace("://", f"://mesh:{self.CANARY}@")
        for behaviour in (
            lambda exchange: exchange.answer(500, {}),
            lambda exchange: exchange.answer(404, {}),
            lambda exchange: exchange.answer(302, {}, {"Location": "http://127.0.0.1:1/"}),
            lambda exchange: exchange.truncate(200, b""),
        ):
            server.behaviour = behaviour
            with SchemaRegistry(settings_for(url)) as registry:
                with pytest.raises(PlatformError) as caught:
                    registry.writer_schema(7)
                assert self.CANARY not in f"{registry!r} {registry.url} {caught.value!r}"
                assert self.CANARY not in repr(caught.value.__cause__)

        assert self.CANARY not in caplog.text


class TestRegistration:
    @pytest.mark.parametrize("status", [409, 422])
    def test_a_refused_schema_is_told_in_the_registrys_words(
        self, server: FaultyRegistry, registry: SchemaRegistry, status: int
    ) -> None:
        message = "Schema being registered is incompatible;\n field x has no default"
        server.behaviour = lambda exchange: exchange.answer(
            status, {"error_code": status, "message": message}
        )

        with pytest.raises(SchemaRefusedError, match="incompatible; field x has no default"):
            registry.register("orders-value", json.dumps(ORDER))

        assert len(server.requests) == 1

    def test_the_registrys_reasons_are_passed_on(
        self, server: FaultyRegistry, registry: SchemaRegistry
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(
            200, {"is_compatible": False, "messages": ["READER_FIELD_MISSING_DEFAULT_VALUE: x"]}
        )
        assert registry.incompatibilities("orders-value", "{}") == [
            "READER_FIELD_MISSING_DEFAULT_VALUE: x"
        ]

        server.behaviour = lambda exchange: exchange.answer(200, {"is_compatible": False})
        assert registry.incompatibilities("orders-value", "{}") == ["it gives no reason"]

    @pytest.mark.parametrize(
        "answer", [{}, {"id": "7"}, {"id": True}, None, {"id": 7, "version": 1}, "text"]
    )
    def test_an_answer_without_what_was_asked_for_is_an_outage(
        self, server: FaultyRegistry, registry: SchemaRegistry, answer: object
    ) -> None:
        server.behaviour = lambda exchange: exchange.answer(200, answer)
        questions: list[Callable[[], object]] = [
            lambda: registry.lookup("s", "{}"),
            lambda: registry.latest("s"),
            lambda: registry.history("s"),
            lambda: registry.compatibility("s"),
            lambda: registry.incompatibilities("s", "{}"),
            registry.subjects,
        ]
        for ask in questions:
            with pytest.raises(RegistryError):
                ask()


@pytest.fixture
def real(stack: Stack) -> Iterator[SchemaRegistry]:
    with SchemaRegistry(settings_for(stack.registry_url)) as client:
        yield client


@pytest.fixture
def subject() -> str:
    return f"orders.s{uuid.uuid4().hex}.v1-value"


def evolved(**field: object) -> str:
    return json.dumps({**ORDER, "fields": [*ORDER["fields"], field]})


@pytest.mark.kafka
class TestARealRegistry:
    def test_what_is_registered_is_found_by_schema_id_and_subject(
        self, real: SchemaRegistry, subject: str
    ) -> None:
        schema = json.dumps({**ORDER, "namespace": subject.replace("-", "."), "doc": "An order."})
        assert real.lookup(subject, schema) is None
        assert real.latest(subject) is None
        assert real.history(subject) == []

        schema_id = real.register(subject, schema)

        assert real.register(subject, schema) == schema_id
        found = real.lookup(subject, json.dumps(json.loads(schema), indent=2))
        assert found is not None
        assert (found.schema_id, found.version) == (schema_id, 1)
        latest = real.latest(subject)
        assert latest is not None
        assert json.loads(latest.schema) == json.loads(schema)
        assert real.writer_schema(schema_id) == json.loads(schema)
        assert subject in real.subjects()

    def test_schemas_that_differ_in_their_meaning_are_different(
        self, real: SchemaRegistry, subject: str
    ) -> None:
        def price(**changes: object) -> str:
            kind = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
            return evolved(name="price", type={**kind, **changes})

        real.register(subject, price())

        assert real.lookup(subject, price()) is not None
        for other in (price(scale=3), price(precision=19), price(logicalType="other")):
            assert real.lookup(subject, other) is None

    def test_an_incompatible_schema_is_refused_with_the_field(
        self, real: SchemaRegistry, subject: str
    ) -> None:
        real.set_compatibility(subject, "BACKWARD")
        assert real.compatibility(subject) == "BACKWARD"
        real.register(subject, json.dumps(ORDER))
        bad = evolved(name="added", type="int")
        good = evolved(name="added", type="int", default=0)

        assert real.incompatibilities(subject, bad) != []
        with pytest.raises(SchemaRefusedError, match="added"):
            real.register(subject, bad)
        assert real.incompatibilities(subject, good) == []
        real.register(subject, good)
        assert [version.version for version in real.history(subject)] == [1, 2]

    def test_a_level_that_does_not_exist_is_refused(
        self, real: SchemaRegistry, subject: str
    ) -> None:
        with pytest.raises(SchemaRefusedError, match="SIDEWAYS"):
            real.set_compatibility(subject, "SIDEWAYS")

    @pytest.mark.parametrize(
        "schema", ["no schema", json.dumps({**ORDER, "namespace": "1nvalid"}), '{"type": "object"}']
    )
    def test_what_is_no_avro_schema_is_refused(
        self, real: SchemaRegistry, subject: str, schema: str
    ) -> None:
        with pytest.raises(SchemaRefusedError):
            real.register(subject, schema)

    def test_an_id_or_guid_that_was_never_given_is_unknown(self, real: SchemaRegistry) -> None:
        assert real.writer_schema(2_000_000_000) is None
        assert real.writer_schema(uuid.uuid4()) is None

    def test_a_path_that_is_not_the_registrys_is_not_taken_for_one(self, stack: Stack) -> None:
        url = stack.registry_url.removesuffix("/apis/ccompat/v7")
        with (
            SchemaRegistry(settings_for(url)) as registry,
            pytest.raises(RegistryError, match="MESH_REGISTRY_URL"),
        ):
            registry.writer_schema(1)


class TestTls:
    def test_a_registry_is_believed_by_its_certificate_authority_only(self, tmp_path: Path) -> None:
        chain = certificate(tmp_path)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(chain)
        with faulty_registry(knows, tls=tls) as secured:
            trusting = settings_for(secured.url, MESH_REGISTRY_CA=str(chain))
            with SchemaRegistry(trusting) as registry:
                assert registry.writer_schema(7) == ORDER

            with (
                SchemaRegistry(settings_for(secured.url)) as registry,
                pytest.raises(RegistryError, match="CERTIFICATE_VERIFY_FAILED"),
            ):
                registry.writer_schema(7)

        assert len(secured.requests) == 1

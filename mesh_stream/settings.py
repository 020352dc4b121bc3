"""Where things run: products folder, broker, registry, credentials.

What runs is declared in the products; this comes from the command line, the environment, and one
file of extra librdkafka settings that the environment names:

- `MESH_PRODUCTS`: the folder of the products; unset, `products`.
- `MESH_BOOTSTRAP_SERVERS`: the broker, `host:port[,host:port]`.
- `MESH_REGISTRY_URL`: the schema registry's Confluent API. Both unset: the stack that runs here.
- `MESH_REGISTRY_AUTH`: the registry's `user:password`, best by reference, as in
  `${file:/run/secrets/registry}`.
- `MESH_REGISTRY_CA`: a PEM file of the certificate authorities that vouch for the registry.
- `MESH_KAFKA_CONFIG`: a YAML file of librdkafka settings by their own dotted names. Credentials
  only by reference: `${env:NAME}`, `${file:/path}`. May hold `allow_insecure: true`.
- `MESH_STATE`: where workers keep what products remember; unset, `~/.local/state/mesh-stream`.
- `MESH_ALLOW_INSECURE`: `1`: unencrypted or unverified connections to other machines are wanted.

Connections that do not protect what they carry are refused unless they stay on this machine or
are asked for; so are librdkafka settings that would break exactly-once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mesh_stream import credentials
from mesh_stream.errors import BrokerError, DeclarationError, Fault
from mesh_stream.product.yaml_source import read_yaml

ENVIRONMENT = Path("environment")
"""Stands where a fault names its file, for what a variable or an option says."""
_OURS = "it is part of the exactly-once contract of the worker"
_IN_TRANSACTION = "offsets are committed in the transaction, never beside it"
REFUSED: Mapping[str, str] = {
    "bootstrap.servers": "set MESH_BOOTSTRAP_SERVERS instead",
    "metadata.broker.list": "set MESH_BOOTSTRAP_SERVERS instead",
    "group.id": "a product's group is mesh.<product>: its positions and its ACLs hang on the name",
    "group.instance.id": "a restarted slot must not fence its successor",
    "group.protocol": "the worker speaks the classic protocol",
    "transactional.id": "each slot's is mesh.<product>.<slot>: fencing hangs on the name",
    "enable.idempotence": _OURS,
    "acks": _OURS,
    "request.required.acks": _OURS,
    "retries": _OURS,
    "message.send.max.retries": _OURS,
    "max.in.flight": _OURS,
    "max.in.flight.requests.per.connection": _OURS,
    "enable.gapless.guarantee": _OURS,
    "enable.auto.commit": _IN_TRANSACTION,
    "auto.commit.enable": _IN_TRANSACTION,
    "enable.auto.offset.store": _IN_TRANSACTION,
    "isolation.level": "facts of aborted transactions must not be read",
    "auto.offset.reset": "positions are set explicitly; a lost one must stop the worker",
    "enable.partition.eof": "the worker reads end-of-partition events itself",
    "delivery.report.only.error": "the worker reads delivery reports itself",
    "allow.auto.create.topics": "topics come from `mesh-stream apply`, never from a typing error",
    "partitioner": "a key's partition must be the one that Java producers choose",
    "metadata.recovery.strategy": "`rebootstrap` can leave a producer waiting for ever",
    "plugin.library.paths": "it loads foreign code",
}
"""librdkafka settings that may not be set, with the reason."""

# fmt: off
DEBUG_CONTEXTS = frozenset({
    "generic", "broker", "topic", "metadata", "feature", "queue", "msg", "cgrp", "fetch",
    "consumer", "admin", "eos", "mock", "assignor", "telemetry", "interceptor",
})
# fmt: on
"""What `debug` may name. `conf`, `security`, `protocol` and `all` print credentials."""

_SECRET_KEY = re.compile(
    r"password|passphrase|(?<!\.)secret|\.secret|ssl\.key\.pem|private\.key\.pem"
    r"|sasl\.oauthbearer\.config|jaas"
)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class Settings(BaseModel):
    """Where things run. Frozen; secrets show as asterisks; made by `Settings.load`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    products: Path = Field(description="The folder of the products.", examples=["products"])
    state: Path = Field(
        default_factory=lambda: state_folder({}),
        description="Where workers keep what products remember.",
        examples=["/var/lib/mesh-stream"],
    )
    bootstrap_servers: str = Field(
        description="The broker: host:port, several separated by commas.",
        examples=["127.0.0.1:9092"],
    )
    registry_url: str = Field(
        description="The schema registry's Confluent API, without credentials.",
        examples=["http://127.0.0.1:8081/apis/ccompat/v7"],
    )
    registry_auth: SecretStr | None = Field(
        default=None, description="The registry's user:password.", examples=["mesh:secret"]
    )
    registry_ca: Path | None = Field(
        default=None,
        description="Certificate authorities that vouch for the registry; the usual ones if unset.",
        examples=["/etc/ssl/registry-ca.pem"],
    )
    kafka: Mapping[str, str | SecretStr] = Field(
        default_factory=dict,
        description="Extra librdkafka settings by their own dotted names; secret if by reference.",
        examples=[{"security.protocol": "SASL_SSL"}],
    )
    kafka_config: Path | None = Field(
        default=None,
        description="The file those settings were read from, for messages.",
        examples=["/etc/mesh/kafka.yaml"],
    )
    allow_insecure: bool = Field(
        default=False,
        description="Whether unencrypted or unverified connections to other machines are wanted.",
        examples=[False],
    )

    @classmethod
    def load(
        cls,
        env: Mapping[str, str],
        *,
        products: str | None = None,
        bootstrap_servers: str | None = None,
        registry_url: str | None = None,
        running: Callable[[], tuple[str, str] | None] = lambda: None,
    ) -> Self:
        """Reads the settings; what is given here goes before the environment.

        Args:
            env: The process's environment.
            products: The folder of the products.
            bootstrap_servers: The broker.
            registry_url: The registry.
            running: Where the stack of this machine listens, as (bootstrap servers, registry
                URL), or None if none runs; asked only if neither was set.

        Raises:
            DeclarationError: Every fault of the settings at once.
            BrokerError: No broker was set, and no stack runs here.
        """
        servers = bootstrap_servers or env.get("MESH_BOOTSTRAP_SERVERS", "")
        url = registry_url or env.get("MESH_REGISTRY_URL", "")
        if not servers and not url:
            found = running()
            if found is None:
                raise BrokerError(
                    "no broker: MESH_BOOTSTRAP_SERVERS is not set and no stack runs on this machine"
                    "; set it (and MESH_REGISTRY_URL), or start a stack with `mesh-stream up`"
                )
            servers, url = found
        faults: list[Fault] = []
        insecure = _flag("MESH_ALLOW_INSECURE", env, faults)
        kafka, insecure, kafka_config = _kafka_options(env, faults, insecure=insecure)
        faults += _server_faults(servers, kafka, insecure=insecure)
        url, auth = _registry(url, env, faults, insecure=insecure)
        ca = env.get("MESH_REGISTRY_CA", "")
        if ca and not Path(ca).is_file():
            faults.append(_fault("MESH_REGISTRY_CA", f"{ca}, which is no file", "a PEM file"))
        if faults:
            raise DeclarationError(faults)
        return cls(
            products=products_folder(env, products),
            state=state_folder(env),
            bootstrap_servers=servers,
            registry_url=url,
            registry_auth=SecretStr(auth) if auth else None,
            registry_ca=Path(ca) if ca else None,
            kafka=kafka,
            kafka_config=kafka_config,
            allow_insecure=insecure,
        )

    def masks(self) -> tuple[str, ...]:
        """Every text that would give a credential away; for `credentials.mask` and its filter."""
        secrets = [*self.kafka.values(), self.registry_auth]
        return credentials.masks(
            secret.get_secret_value() for secret in secrets if isinstance(secret, SecretStr)
        )

    def kafka_options(self) -> dict[str, str]:
        """The extra librdkafka settings, secrets bare: only for a client's constructor."""
        return {key: _bare(value) for key, value in self.kafka.items()}


def products_folder(env: Mapping[str, str], given: str | None = None) -> Path:
    """Where the products are: what was given, else MESH_PRODUCTS, else `products`."""
    return Path(given or env.get("MESH_PRODUCTS", "") or "products")


def state_folder(env: Mapping[str, str]) -> Path:
    """Where workers keep what products remember: MESH_STATE, else the user's own state folder."""
    return Path(env.get("MESH_STATE", "") or Path.home() / ".local/state/mesh-stream")


def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _bare(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its very name."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _fault(variable: str, found: str, expected: str, remedy: str = "") -> Fault:
    return Fault(ENVIRONMENT, 0, variable, found, expected, remedy)


def _flag(variable: str, env: Mapping[str, str], faults: list[Fault]) -> bool:
    text = env.get(variable, "").strip().lower()
    if text not in _TRUE | _FALSE:
        faults.append(_fault(variable, repr(text), "1 or 0"))
    return text in _TRUE


def _resolved(variable: str, text: str, env: Mapping[str, str], faults: list[Fault]) -> str:
    try:
        return credentials.resolve(text, env)
    except credentials.UnresolvedError as cause:
        faults.append(_fault(variable, cause.found, cause.expected))
        return ""


def _kafka_options(
    env: Mapping[str, str], faults: list[Fault], *, insecure: bool
) -> tuple[dict[str, str | SecretStr], bool, Path | None]:
    """Reads MESH_KAFKA_CONFIG: the settings, whether insecure ones are wanted, the file."""
    name = env.get("MESH_KAFKA_CONFIG", "")
    if not name:
        return {}, insecure, None
    path = Path(name)
    try:
        document = read_yaml(path)
    except DeclarationError as cause:
        faults += cause.faults
        return {}, insecure, path
    if not isinstance(document.data, dict):
        expected = "librdkafka settings, such as `security.protocol: SASL_SSL`"
        faults.append(document.fault((), "no mapping", expected))
        return {}, insecure, path
    allowed = document.data.pop("allow_insecure", False)
    if not isinstance(allowed, bool):
        faults.append(document.fault(("allow_insecure",), "something else", "true or false"))
    insecure = insecure or allowed is True
    options: dict[str, str | SecretStr] = {}
    for key, value in document.data.items():
        try:
            options[key] = _option(key, value, env)
        except credentials.UnresolvedError as cause:
            # The value may be a secret: what was found never quotes it.
            faults.append(document.fault((key,), cause.found, cause.expected))
    texts = {key: _bare(value) for key, value in options.items()}
    for key, found, expected in _option_problems(texts, insecure=insecure):
        faults.append(document.fault((key,), found, expected))
    return options, insecure, path


def _option(key: str, value: Any, env: Mapping[str, str]) -> str | SecretStr:
    """Turns one declared setting into what librdkafka reads: text."""
    if key in REFUSED:
        raise credentials.UnresolvedError("a setting that may not be set", REFUSED[key])
    if key.endswith("_cb") or value is None or isinstance(value, dict | list):
        raise credentials.UnresolvedError("no single value", "text, a number, true or false")
    if isinstance(value, bool):
        return "true" if value else "false"
    if credentials.is_reference(text := str(value)):
        return SecretStr(credentials.resolve(text, env))
    if _is_secret(key):
        raise credentials.UnresolvedError(
            "a credential written out", "a reference: ${env:NAME} or ${file:/path}"
        )
    return credentials.resolve(text, env)


def _option_problems(
    options: Mapping[str, str], *, insecure: bool
) -> Iterator[tuple[str, str, str]]:
    """Yields settings that are unsafe, each as (key, what was found, what was expected)."""
    lowered = {key: value.strip().lower() for key, value in options.items()}
    contexts = {context.strip() for context in lowered.get("debug", "").split(",")} - {""}
    if unwanted := contexts - DEBUG_CONTEXTS:
        found = ", ".join(sorted(unwanted))
        expected = f"some of {', '.join(sorted(DEBUG_CONTEXTS))}: others print credentials"
        yield "debug", found, expected
    method = lowered.get("sasl.oauthbearer.method", "default")
    mechanism = lowered.get("sasl.mechanism", lowered.get("sasl.mechanisms", ""))
    if insecure:
        return
    otherwise = "; for a development machine, allow_insecure: true"
    if lowered.get("security.protocol") == "sasl_plaintext":
        expected = "SASL_SSL: SASL_PLAINTEXT sends credentials unencrypted"
        yield "security.protocol", "SASL_PLAINTEXT", expected + otherwise
    if lowered.get("ssl.endpoint.identification.algorithm", "https") != "https":
        expected = "https: without it, any certificate holder can pose as the broker"
        yield "ssl.endpoint.identification.algorithm", "none", expected + otherwise
    if lowered.get("enable.ssl.certificate.verification", "true") not in {"true", "t", "1"}:
        expected = "true: without it, anybody can pose as the broker"
        yield "enable.ssl.certificate.verification", "false", expected + otherwise
    if mechanism == "oauthbearer" and method == "default":
        expected = "oidc: the default method sends tokens that nobody signed"
        yield "sasl.oauthbearer.method", "the default method", expected + otherwise
    token_url = lowered.get("sasl.oauthbearer.token.endpoint.url", "https://")
    if not token_url.startswith("https://"):
        yield "sasl.oauthbearer.token.endpoint.url", "no https URL", "an https URL" + otherwise


def _server_faults(
    servers: str, kafka: Mapping[str, str | SecretStr], *, insecure: bool
) -> Iterator[Fault]:
    variable = "MESH_BOOTSTRAP_SERVERS"
    if not servers:
        yield _fault(
            variable,
            "nothing, while MESH_REGISTRY_URL is set",
            "both or neither: a broker and a registry belong together",
        )
        return
    protocol = _bare(kafka.get("security.protocol", "plaintext")).strip().lower()
    for server in servers.split(","):
        host, port = _host_and_port(server.strip())
        if not host:
            # Not quoted: somebody may have put credentials into it.
            yield _fault(variable, "an entry that is not host:port", "host:port[,host:port]")
        elif protocol == "plaintext" and not insecure and not is_loopback(host):
            yield _fault(
                variable,
                f"{host}:{port}, another machine, reached unencrypted",
                "a broker on this machine, or `security.protocol: SASL_SSL` in MESH_KAFKA_CONFIG",
                "inside a trusted network set MESH_ALLOW_INSECURE=1",
            )


def _host_and_port(server: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", server)
    if match is None:
        return "", 0
    port = int(match[2] or 9092)
    return (match[1], port) if 0 < port < 65_536 else ("", 0)


def _registry(
    url: str, env: Mapping[str, str], faults: list[Fault], *, insecure: bool
) -> tuple[str, str]:
    """Checks the registry's URL; returns it without userinfo, and `user:password` or nothing."""
    variable = "MESH_REGISTRY_URL"
    if not url:
        faults.append(
            _fault(
                variable,
                "nothing, while MESH_BOOTSTRAP_SERVERS is set",
                "both or neither: a broker and a registry belong together",
            )
        )
        return "", ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        expected = "an http or https URL, such as http://127.0.0.1:8081/apis/ccompat/v7"
        faults.append(_fault(variable, "no such URL", expected))
        return "", ""
    if parts.scheme == "http" and not insecure and not is_loopback(host):
        faults.append(
            _fault(
                variable,
                f"{host}, another machine, reached unencrypted",
                "an https URL, or a registry on this machine",
                "inside a trusted network set MESH_ALLOW_INSECURE=1",
            )
        )
    auth = _resolved("MESH_REGISTRY_AUTH", env.get("MESH_REGISTRY_AUTH", ""), env, faults)
    if auth and not re.fullmatch(r"[^:]+:.+", auth, re.DOTALL):
        faults.append(_fault("MESH_REGISTRY_AUTH", "no colon in it", "user:password"))
    if parts.username is not None:
        if auth:
            remedy = "keep MESH_REGISTRY_AUTH"
            faults.append(_fault(variable, "credentials, twice", "credentials once", remedy))
        auth = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    host = f"[{host}]" if ":" in host else host
    bare = urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path, "", ""))
    return bare.rstrip("/"), auth

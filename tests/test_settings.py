from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from mesh_stream.errors import BrokerError, DeclarationError
from mesh_stream.settings import DEBUG_CONTEXTS, REFUSED, Settings, is_loopback, products_folder

CANARY = "canary-7f3a9c"
LOCAL = {
    "MESH_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "MESH_REGISTRY_URL": "http://127.0.0.1:8081/apis/ccompat/v7",
}
REMOTE = {
    "MESH_BOOTSTRAP_SERVERS": "broker:9092",
    "MESH_REGISTRY_URL": "https://registry:8081",
}


def kafka_config(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "kafka.yaml"
    file.write_text(text)
    return {"MESH_KAFKA_CONFIG": str(file)}


def faults(env: Mapping[str, str]) -> str:
    with pytest.raises(DeclarationError) as caught:
        Settings.load(env)
    return str(caught.value)


class TestPlaces:
    def test_the_environment_says_where(self) -> None:
        settings = Settings.load({**LOCAL, "MESH_PRODUCTS": "/srv/products"})

        assert settings.bootstrap_servers == "127.0.0.1:9092"
        assert settings.registry_url == "http://127.0.0.1:8081/apis/ccompat/v7"
        assert settings.products == Path("/srv/products")

    def test_what_is_given_goes_before_the_environment(self) -> None:
        settings = Settings.load(
            LOCAL | {"MESH_PRODUCTS": "a"},
            products="b",
            bootstrap_servers="localhost:1",
            registry_url="http://localhost:2",
        )

        assert settings.products == Path("b")
        assert settings.bootstrap_servers == "localhost:1"
        assert settings.registry_url == "http://localhost:2"

    def test_nothing_set_means_the_running_stack(self) -> None:
        settings = Settings.load({}, running=lambda: ("127.0.0.1:1", "http://127.0.0.1:2/"))

        assert settings.bootstrap_servers == "127.0.0.1:1"
        assert settings.registry_url == "http://127.0.0.1:2"

    def test_the_running_stack_is_not_asked_for_where_places_are_set(self) -> None:
        def running() -> tuple[str, str]:
            raise AssertionError("asked")

        assert Settings.load(LOCAL, running=running).bootstrap_servers == "127.0.0.1:9092"

    def test_nothing_set_and_nothing_running_is_no_platform(self) -> None:
        with pytest.raises(BrokerError, match="mesh-stream up") as caught:
            Settings.load({})

        assert caught.value.exit_code == 3

    @pytest.mark.parametrize("alone", sorted(LOCAL))
    def test_a_broker_and_a_registry_of_different_stacks_are_not_mixed(self, alone: str) -> None:
        def running() -> tuple[str, str]:
            raise AssertionError("asked")

        with pytest.raises(DeclarationError, match="belong together"):
            Settings.load({alone: LOCAL[alone]}, running=running)

    def test_products_are_found_without_a_broker(self) -> None:
        assert products_folder({}) == Path("products")
        assert products_folder({"MESH_PRODUCTS": "a"}) == Path("a")
        assert products_folder({"MESH_PRODUCTS": "a"}, "b") == Path("b")

    @pytest.mark.parametrize(
        "servers",
        [
            "kafka://h:1",
            "u:p@h:1",
            "h:0",
            "h:70000",
            "h:port",
            ",",
            "h:1,",
            "h 1",
            "h:1;h:2",
            "é:1",
        ],
    )
    def test_what_is_no_list_of_servers_is_a_fault(self, servers: str) -> None:
        message = faults({**LOCAL, "MESH_BOOTSTRAP_SERVERS": servers})

        assert "MESH_BOOTSTRAP_SERVERS" in message
        assert "host:port" in message

    @pytest.mark.parametrize("servers", ["localhost", "127.0.0.1:1,[::1]:2", "127.8.8.8:1"])
    def test_servers_are_hosts_with_or_without_ports(self, servers: str) -> None:
        assert (
            Settings.load({**LOCAL, "MESH_BOOTSTRAP_SERVERS": servers}).bootstrap_servers == servers
        )

    @pytest.mark.parametrize(
        "url",
        ["localhost:8081", "ftp://localhost", "http://", "http://h:x", "http://[", "http://h?a"],
    )
    def test_what_is_no_registry_url_is_a_fault(self, url: str) -> None:
        assert "MESH_REGISTRY_URL" in faults({**LOCAL, "MESH_REGISTRY_URL": url})

    def test_every_fault_is_told_at_once(self, tmp_path: Path) -> None:
        config = kafka_config(tmp_path, "group.id: mine\ndebug: all\n")
        message = faults(
            {
                **config,
                "MESH_BOOTSTRAP_SERVERS": "?",
                "MESH_REGISTRY_URL": "?",
                "MESH_REGISTRY_CA": str(tmp_path / "none"),
                "MESH_ALLOW_INSECURE": "perhaps",
            }
        )

        for part in (
            f"{config['MESH_KAFKA_CONFIG']}:1: group.id",
            f"{config['MESH_KAFKA_CONFIG']}:2: debug",
            "MESH_BOOTSTRAP_SERVERS",
            "MESH_REGISTRY_URL",
            "MESH_REGISTRY_CA",
            "MESH_ALLOW_INSECURE",
        ):
            assert part in message


class TestInsecureConnections:
    @pytest.mark.parametrize(
        ("host", "loopback"),
        [
            ("localhost", True),
            ("LOCALHOST", True),
            ("127.0.0.1", True),
            ("127.9.9.9", True),
            ("::1", True),
            ("[::1]", True),
            ("10.0.0.1", False),
            ("127.0.0.1.example.org", False),
            ("localhost.example.org", False),
            ("0.0.0.0", False),
        ],
    )
    def test_only_this_machines_own_names_are_loopback(self, host: str, loopback: bool) -> None:
        assert is_loopback(host) is loopback

    def test_plaintext_to_another_machine_is_refused(self) -> None:
        message = faults(REMOTE)

        assert "broker:9092" in message
        assert "MESH_ALLOW_INSECURE=1" in message

    def test_one_remote_server_among_local_ones_is_refused(self) -> None:
        assert "10.0.0.1" in faults({**LOCAL, "MESH_BOOTSTRAP_SERVERS": "localhost:1,10.0.0.1:1"})

    def test_a_registry_without_tls_on_another_machine_is_refused(self) -> None:
        message = faults({**LOCAL, "MESH_REGISTRY_URL": "http://registry:8081"})

        assert "MESH_REGISTRY_URL" in message
        assert "MESH_ALLOW_INSECURE=1" in message

    @pytest.mark.parametrize("yes", ["1", "true", "YES", "on"])
    def test_insecure_connections_can_be_asked_for(self, yes: str) -> None:
        remote = {**REMOTE, "MESH_REGISTRY_URL": "http://registry:8081"}

        assert Settings.load({**remote, "MESH_ALLOW_INSECURE": yes}).allow_insecure

    @pytest.mark.parametrize("no", ["0", "false", ""])
    def test_insecure_connections_have_to_be_asked_for(self, no: str) -> None:
        assert "unencrypted" in faults({**REMOTE, "MESH_ALLOW_INSECURE": no})

    def test_tls_to_another_machine_is_fine(self, tmp_path: Path) -> None:
        config = kafka_config(tmp_path, "security.protocol: SSL")

        assert not Settings.load({**REMOTE, **config}).allow_insecure

    @pytest.mark.parametrize(
        "option",
        [
            "security.protocol: SASL_PLAINTEXT",
            "security.protocol: sasl_plaintext",
            "ssl.endpoint.identification.algorithm: none",
            "enable.ssl.certificate.verification: false",
            "enable.ssl.certificate.verification: 0",
            "sasl.mechanism: OAUTHBEARER",
            "sasl.oauthbearer.token.endpoint.url: http://idp/token",
        ],
    )
    def test_an_option_that_protects_nothing_is_refused_unless_asked_for(
        self, tmp_path: Path, option: str
    ) -> None:
        config = kafka_config(tmp_path, option)
        key = option.partition(":")[0].replace("sasl.mechanism", "sasl.oauthbearer.method")
        assert f"{config['MESH_KAFKA_CONFIG']}:1: {key}" in faults({**LOCAL, **config})

        config = kafka_config(tmp_path, f"{option}\nallow_insecure: true\n")
        assert Settings.load({**LOCAL, **config}).kafka_options()

    def test_tokens_of_an_identity_provider_are_fine(self, tmp_path: Path) -> None:
        config = kafka_config(
            tmp_path,
            "security.protocol: SASL_SSL\nsasl.mechanism: OAUTHBEARER\n"
            "sasl.oauthbearer.method: oidc\n"
            "sasl.oauthbearer.token.endpoint.url: https://idp/token\n",
        )

        assert (
            Settings.load({**REMOTE, **config}).kafka_options()["sasl.mechanism"] == "OAUTHBEARER"
        )

    def test_debug_output_that_prints_credentials_is_refused_even_if_insecure(
        self, tmp_path: Path
    ) -> None:
        for context in ("all", "security", "protocol", "conf", "cgrp,security"):
            config = kafka_config(tmp_path, f"debug: {context}\nallow_insecure: true\n")
            assert "print credentials" in faults({**LOCAL, **config})

        config = kafka_config(tmp_path, f"debug: {','.join(sorted(DEBUG_CONTEXTS))}")
        assert "cgrp" in Settings.load({**LOCAL, **config}).kafka_options()["debug"]


class TestKafkaConfig:
    def test_values_become_the_text_that_librdkafka_reads(self, tmp_path: Path) -> None:
        config = kafka_config(
            tmp_path, "linger.ms: 20\nsocket.keepalive.enable: true\nclient.rack: 'a'\n"
        )

        assert Settings.load({**LOCAL, **config}).kafka_options() == {
            "linger.ms": "20",
            "socket.keepalive.enable": "true",
            "client.rack": "a",
        }

    @pytest.mark.parametrize("key", sorted(REFUSED))
    def test_an_option_that_breaks_the_worker_is_refused_with_the_reason(
        self, tmp_path: Path, key: str
    ) -> None:
        config = kafka_config(tmp_path, f"# why not\n{key}: 1\n")

        message = faults({**LOCAL, **config})

        assert f"{config['MESH_KAFKA_CONFIG']}:2: {key}" in message
        assert REFUSED[key] in message

    @pytest.mark.parametrize("value", ["", "[a]", "{a: b}", "~"])
    def test_what_is_no_single_value_is_a_fault(self, tmp_path: Path, value: str) -> None:
        assert "no single value" in faults(
            {**LOCAL, **kafka_config(tmp_path, f"linger.ms: {value}")}
        )

    def test_a_callback_cannot_be_written_in_a_file(self, tmp_path: Path) -> None:
        assert "error_cb" in faults({**LOCAL, **kafka_config(tmp_path, "error_cb: print")})

    @pytest.mark.parametrize("text", ["- a", "text", "a: 1\na: 2", "a: &x 1\nb: *x", "a: ["])
    def test_what_is_no_plain_mapping_is_a_fault(self, tmp_path: Path, text: str) -> None:
        assert "kafka.yaml" in faults({**LOCAL, **kafka_config(tmp_path, text)})

    def test_a_missing_file_is_a_fault(self, tmp_path: Path) -> None:
        assert "none.yaml" in faults({**LOCAL, "MESH_KAFKA_CONFIG": str(tmp_path / "none.yaml")})


class TestSecrets:
    @pytest.mark.parametrize(
        "key",
        [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ],
    )
    def test_a_credential_is_referred_to_never_written(self, tmp_path: Path, key: str) -> None:
        message = faults({**LOCAL, **kafka_config(tmp_path, f"{key}: {CANARY}")})
        assert "${env:NAME}" in message
        assert CANARY not in message

        config = kafka_config(tmp_path, f"{key}: ${{env:SECRET}}")
        settings = Settings.load({**LOCAL, **config, "SECRET": CANARY})
        assert settings.kafka_options()[key] == CANARY

    @pytest.mark.parametrize(
        "key",
        [
            "sasl.username",
            "ssl.key.location",
            "ssl.certificate.pem",
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.token.endpoint.url",
        ],
    )
    def test_what_is_no_credential_may_be_written(self, tmp_path: Path, key: str) -> None:
        config = kafka_config(tmp_path, f"{key}: https://plain")

        assert Settings.load({**LOCAL, **config}).kafka_options()[key] == "https://plain"

    def test_an_unresolved_reference_names_file_line_and_reference(self, tmp_path: Path) -> None:
        config = kafka_config(tmp_path, "linger.ms: 5\nsasl.password: ${env:NOT_SET}\n")

        message = faults({**LOCAL, **config})

        assert f"{config['MESH_KAFKA_CONFIG']}:2: sasl.password" in message
        assert "NOT_SET" in message

    def test_registry_credentials_come_by_reference_variable_or_url(self, tmp_path: Path) -> None:
        file = tmp_path / "auth"
        file.write_text("mesh:p:w\n")
        for env in (
            {"MESH_REGISTRY_AUTH": "${env:AUTH}", "AUTH": "mesh:p:w"},
            {"MESH_REGISTRY_AUTH": f"${{file:{file}}}"},
            {"MESH_REGISTRY_AUTH": "mesh:p:w"},
            {"MESH_REGISTRY_URL": "http://mesh:p%3Aw@127.0.0.1:8081/apis/ccompat/v7"},
        ):
            settings = Settings.load({**LOCAL, **env})

            assert settings.registry_auth is not None
            assert settings.registry_auth.get_secret_value() == "mesh:p:w"
            assert settings.registry_url == LOCAL["MESH_REGISTRY_URL"]

    def test_registry_credentials_given_twice_or_in_half_are_a_fault(self) -> None:
        url = f"http://mesh:{CANARY}@127.0.0.1:8081"
        for env in (
            {"MESH_REGISTRY_URL": url, "MESH_REGISTRY_AUTH": f"mesh:{CANARY}"},
            {"MESH_REGISTRY_AUTH": CANARY},
        ):
            assert CANARY not in faults({**LOCAL, **env})

    @pytest.mark.parametrize("name", ["MESH_REGISTRY_URL", "MESH_BOOTSTRAP_SERVERS"])
    def test_a_fault_of_a_place_does_not_quote_credentials(self, name: str) -> None:
        for text in (f"u:{CANARY}@[", f"ftp://u:{CANARY}@host", f"http://u:{CANARY}@h:x"):
            assert CANARY not in faults({**LOCAL, name: text})

    def test_nothing_that_shows_settings_shows_secrets(self, tmp_path: Path) -> None:
        config = kafka_config(
            tmp_path, "security.protocol: SASL_SSL\nsasl.password: ${env:SECRET}\n"
        )
        settings = Settings.load(
            {**REMOTE, **config, "SECRET": CANARY, "MESH_REGISTRY_AUTH": f"mesh:{CANARY}"}
        )

        shown = [repr(settings), str(settings), settings.model_dump_json(), f"{settings!r}"]
        shown.append(json.dumps(settings.model_dump(mode="json")))

        assert [text for text in shown if CANARY in text] == []
        assert all("SASL_SSL" in text for text in shown)
        assert {CANARY, f"mesh:{CANARY}"} <= set(settings.masks())
        assert "SASL_SSL" not in settings.masks()

    def test_settings_reach_another_process_whole(self, tmp_path: Path) -> None:
        config = kafka_config(tmp_path, "sasl.password: ${env:SECRET}\n")
        settings = Settings.load({**LOCAL, **config, "SECRET": CANARY})

        assert pickle.loads(pickle.dumps(settings)) == settings

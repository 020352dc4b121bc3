from __future__ import annotations

import socket

from mesh_stream.local.ports import FREE, HOST, choose, is_free


def test_a_free_port_is_taken_as_wanted() -> None:
    wanted = choose([None, None])

    assert choose(wanted) == wanted


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]

        [chosen] = choose([taken])

        assert not is_free(taken)
        assert chosen != taken
        assert is_free(chosen)


def test_a_port_taken_on_all_interfaces_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_every_port_is_a_different_one() -> None:
    [port] = choose([None])

    chosen = choose([port, port, None, None])

    assert len(set(chosen)) == 4
    assert chosen[0] == port


def test_free_ports_are_none_that_a_client_could_be_given() -> None:
    assert FREE.stop <= 32_768
    assert all(port in FREE for port in choose([None] * 20))

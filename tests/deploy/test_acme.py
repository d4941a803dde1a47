"""nginx with certbot, and Caddy, get their certificates from a real ACME server (Pebble), and nginx a renewed one."""

import json
import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

import httpx2
import pytest
from cryptography import x509

from tests.deploy.test_containers import TOOLS
from tests.deploy.test_nginx import _MAIN, HOST, NGINX, adapted, certified
from tests.ports import free_port
from tests.server.served import eventually

pytestmark = pytest.mark.full
_OPTIONS = """{{
	admin off
	skip_install_trust
	storage file_system {folder}/caddy
	http_port {plain}
	https_port {secure}
	acme_ca {directory}
	acme_ca_root {trusted}
}}
"""


@dataclass(frozen=True, slots=True)
class Pebble:
    """A running ACME server, which proves names at these ports of this machine."""

    directory: str
    trusted: Path
    root: Path
    plain: int
    secure: int

    def served(self) -> x509.Certificate | None:
        """Return the certificate that is served for the name, if it is one of this server's."""
        context = ssl.create_default_context(cafile=str(self.root))
        try:
            with (
                create_connection(("127.0.0.1", self.secure), 5) as raw,
                context.wrap_socket(raw, server_hostname=HOST) as secured,
            ):
                found = secured.getpeercert(binary_form=True)
        except OSError:
            return None
        return x509.load_der_x509_certificate(found) if found else None


@contextmanager
def running(folder: Path, *command: object, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for as long as the block; its output is in the folder."""
    given = {**os.environ, "HOME": str(folder), **environment}
    with (folder / f"{Path(str(command[0])).name}.log").open("w") as log:
        process = subprocess.Popen(list(map(str, command)), env=given, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def pebble(tmp_path: Path) -> Iterator[Pebble]:
    folder = tmp_path / "pebble"
    folder.mkdir()
    trusted = folder / "certificate.pem"
    subject = ("-subj", "/CN=pebble", "-addext", "subjectAltName=IP:127.0.0.1")
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", folder / "key.pem", "-out", trusted)
    subprocess.run(["openssl", "req", "-x509", *key, *subject], capture_output=True, check=True)
    ports = {name: free_port() for name in ("acme", "management", "plain", "secure", "dns", "tests")}
    settings = {
        "listenAddress": f"127.0.0.1:{ports['acme']}",
        "managementListenAddress": f"127.0.0.1:{ports['management']}",
        "certificate": str(trusted),
        "privateKey": str(folder / "key.pem"),
        "httpPort": ports["plain"],
        "tlsPort": ports["secure"],
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    names = f"127.0.0.1:{ports['dns']}"
    off = ("-http01", "", "-https01", "", "-tlsalpn01", "")
    here = ("-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-management", f"127.0.0.1:{ports['tests']}")
    with ExitStack() as stack:
        stack.enter_context(running(folder, "pebble-challtestsrv", "-dns01", names, *off, *here))
        served = stack.enter_context(
            running(
                folder,
                *("pebble", "-config", folder / "pebble.json", "-dnsserver", names, "-strict"),
                PEBBLE_VA_NOSLEEP="1",
            )
        )
        root = folder / "root.pem"
        eventually(lambda: served.poll() is not None or _kept(root, trusted, ports["management"]))
        assert served.poll() is None, (folder / "pebble.log").read_text()
        directory = f"https://127.0.0.1:{ports['acme']}/dir"
        yield Pebble(directory, trusted, root, ports["plain"], ports["secure"])


def _kept(root: Path, trusted: Path, port: int) -> bool:
    """Keep the root of the certificates, which is made anew at each start; return whether it is there."""
    try:
        context = ssl.create_default_context(cafile=str(trusted))
        with httpx2.Client(verify=context, trust_env=False, timeout=10) as http:
            root.write_bytes(http.get(f"https://127.0.0.1:{port}/roots/0").content)
    except httpx2.HTTPError:
        return False
    return True


def of_name(certificate: x509.Certificate | None) -> int:
    """Return the number of a certificate of the name."""
    assert certificate is not None
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]
    assert "Pebble Intermediate CA" in certificate.issuer.rfc4514_string()
    return certificate.serial_number


def documented() -> list[str]:
    """Return the commands of docs/operation.md: a certificate for the first start, then that of ACME."""
    section = Path("docs/operation.md").read_text().partition("\n## Certificates\n")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1].replace("\\\n", "").splitlines()


def test_nginx_gets_a_certificate_by_certbot_and_renews_it(pebble: Pebble, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    (folder / "acme").mkdir(parents=True)
    certified(folder)
    (folder / "landcast.conf").write_text(adapted(folder, pebble.secure, pebble.plain, "127.0.0.1:9"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    own = [f"--{name}-dir {folder}/certbot" for name in ("config", "work", "logs")]
    options = f"{' '.join(own)} --non-interactive --server {pebble.directory}"
    account = "--agree-tos --register-unsafely-without-email"
    _, _, command = documented()
    for written, other in (
        ("certbot ", f"{TOOLS}/certbot {options} {account} "),
        ("/var/www/acme", f"{folder}/acme"),
        ("/etc/ssl/certs/maps.example.org.pem", f"{folder}/certificate.pem"),
        ("/etc/ssl/private/maps.example.org.key", f"{folder}/key.pem"),
        ("systemctl reload nginx", f"kill -HUP $(cat {folder}/pid)"),
    ):
        assert command.count(written) == 1, written
        command = command.replace(written, other)
    trusting = {**os.environ, "REQUESTS_CA_BUNDLE": str(pebble.trusted)}
    with running(folder, NGINX, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"):
        eventually(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
        assert pebble.served() is None, "the first certificate is its own"
        for each in (command, f"{TOOLS}/certbot {options} renew --force-renewal --no-random-sleep-on-renew"):
            before = pebble.served()
            done = subprocess.run(["sh", "-euc", each], env=trusting, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            eventually(lambda before=before: pebble.served() not in (None, before))  # type: ignore[misc]
            of_name(pebble.served())


def test_caddy_gets_a_certificate_by_itself(pebble: Pebble, tmp_path: Path) -> None:
    folder = tmp_path / "caddy"
    folder.mkdir()
    given = {"plain": pebble.plain, "secure": pebble.secure, "trusted": pebble.trusted}
    options = _OPTIONS.format(folder=folder, directory=pebble.directory, **given)
    (folder / "Caddyfile").write_text(options + Path("deploy/Caddyfile").read_text())
    command = (TOOLS / "caddyserver", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile")
    with running(folder, *command) as caddy:
        eventually(lambda: caddy.poll() is not None or pebble.served() is not None)
        assert caddy.poll() is None, (folder / "caddyserver.log").read_text()
        of_name(pebble.served())

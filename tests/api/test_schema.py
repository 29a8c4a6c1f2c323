"""The documented API under generated requests: no server error, whatever is sent (schemathesis).

Covers ``api/documentation.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings, strategies
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from onetrainer_gradio.api.app import create_api
from onetrainer_gradio.config.files.documents import to_document
from onetrainer_gradio.service.host.access import Access, AccessSettings
from onetrainer_gradio.service.people.permissions import needed
from onetrainer_gradio.service.people.roles import Role
from tests.api.conftest import ADDRESS, rehearsal_service
from tests.api.people import client_of, panel_with_accounts, signed_in
from tests.fakes.configs import small_config
from tests.fakes.estimates import Computed

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]

EXAMPLES = 8
LONGEST_ADDRESS = 65_536  # the client sends no longer one (httpx)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A client of a panel that has a finished run with a sample and a backup, and their ids."""
    folder = tmp_path_factory.mktemp("schema")
    service = rehearsal_service(folder / "data", estimator=Computed)
    app = create_api(service, Access(AccessSettings()))
    with TestClient(app, base_url=ADDRESS) as client:
        document = to_document(small_config(folder / "material"), packed=True)
        options = {"tags": ["sample_every=10", "backup_every=10"], "name": "finished"}
        reply = client.post("/api/training/start", json={"config": document, "options": options}).json()
        service.wait_for(lambda state: not state["is_training"] and not state["process_running"], 20)
        run_id = reply["run_id"]
        files = client.get(f"/api/runs/{run_id}/files").json()["files"]
        sample = client.get("/api/samples/latest").json()["samples"][0]["id"]
        yield client, {"run_id": run_id, "file_id": files[0]["id"], "sample_id": sample}


def sent(client: TestClient, case: schemathesis.Case) -> httpx.Response:
    """Return the response to a generated request, sent over the wire."""
    wanted = case.as_transport_kwargs(base_url=ADDRESS)
    request = requests.Request(**{key: wanted[key] for key in wanted if key not in {"timeout", "allow_redirects"}}).prepare()
    assume(len(request.url) <= LONGEST_ADDRESS)
    return client.request(request.method, request.url, headers=dict(request.headers), content=request.body)


BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def attempts(client: TestClient, ids: dict[str, str], only: str = "", role: Role = Role.OWNER, paths: Any = None) -> int:
    """Send generated requests to each documented path, or to one, and return their number.

    None may fail, and none that needs a higher role than ``role`` may get anything but 401, 403 or 429.
    """
    schema = schemathesis.openapi.from_dict(paths or client.get("/openapi.json").json())
    schema.config.update(base_url=ADDRESS)
    failed: dict[str, str] = {}
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if only not in operation.path:
            continue

        @BOUNDED
        @given(case=strategies.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        def attempt(case):
            nonlocal tried
            tried += 1
            for name, value in (case.path_parameters or {}).items():
                if name in ids and len(str(value)) % 2:
                    case.path_parameters[name] = ids[name]
            response = sent(client, case)
            key = f"{case.operation.method.upper()} {case.operation.path}"
            needs = needed(key) or needed(key.replace("}", ":path}"))
            let_in = response.status_code not in {401, 403, 429}
            if response.status_code >= 500 or (let_in and (needs is None or needs > role)):
                failed.setdefault(case.operation.label, f"{response.text[:200]} after {case.as_curl_command()[:500]}")

        attempt()
    assert not failed, "\n".join(f"{label}: {why}" for label, why in failed.items())
    return tried


def test_no_documented_path_fails(known):
    """Generated parameters and bodies, valid and invalid ones, get a response below 500."""
    assert attempts(*known) > 300


def test_estimates_of_generated_settings_do_not_fail(tmp_path):
    """This uses real memory estimates, each a dry run of a model at full size."""
    with TestClient(create_api(rehearsal_service(tmp_path), Access(AccessSettings())), base_url=ADDRESS) as client:
        assert attempts(client, {}, only="/memory") >= EXAMPLES


@pytest.mark.parametrize("role", [Role.NOBODY, Role.VIEWER, Role.OPERATOR])
def test_no_documented_path_fails_or_opens_as_another_role(tmp_path, role):
    """On a panel with accounts, what needs a higher role is rejected, whatever is sent."""
    app = panel_with_accounts(tmp_path / "data")
    with client_of(app):
        client = client_of(app) if role is Role.NOBODY else signed_in(app, role.word)
        paths = signed_in(app, "owner").get("/openapi.json").json()
        assert attempts(client, {}, role=role, paths=paths) > 300

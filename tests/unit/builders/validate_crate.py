"""Validate an unpacked archive in an environment of its own, without a network: the JSON-LD context
of RO-Crate 1.1 lies in the package rocrate 0.13, that of Workflow Run Crate is a list of names.

    python validate_crate.py FOLDER    prints {"REQUIRED": {message: count}, "RECOMMENDED": ...,
    "bom": ...}
"""

import json
import sys
from collections import Counter
from pathlib import Path

import rdflib.plugins.shared.jsonld.context as jsonld
import requests
import rocrate
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rocrate_validator import models, services
from rocrate_validator.utils.http import HttpRequester

RUN = "https://w3id.org/ro/terms/workflow-run"
NAMES = ("sha256", "ParameterConnection", "connection", "sourceParameter", "targetParameter")
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": json.loads(
        (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(encoding="utf-8")
    ),
    f"{RUN}/context": {"@context": {name: f"{RUN}#{name}" for name in NAMES}},
}
PROFILE = "provenance-run-crate-0.5"


def answer(_self, url, **_rest):
    """What the network would answer to a request for a context."""
    response = requests.Response()
    response.status_code = 200
    response._content = json.dumps(CONTEXTS[url]).encode()
    response.headers["Content-Type"] = "application/ld+json"
    return response


def issues(folder, level):
    """{message: how often} of a level."""
    settings = services.ValidationSettings(
        rocrate_uri=str(folder), profile_identifier=PROFILE, abort_on_first=False,
        requirement_severity=getattr(models.Severity, level), skip_availability_check=True,
    )  # fmt: skip
    found = services.validate(settings).get_issues()
    return Counter(issue.message for issue in found if issue.severity.name == level)


def main():
    folder = Path(sys.argv[1])
    type(HttpRequester()).get = answer
    HttpRequester.get = answer
    real = jsonld.source_to_json
    jsonld.source_to_json = lambda source, *rest, **more: (
        (CONTEXTS[source], None) if source in CONTEXTS else real(source, *rest, **more)
    )
    bom = (folder / "bom.json").read_text(encoding="utf-8")
    print(
        json.dumps(
            {level: issues(folder, level) for level in ("REQUIRED", "RECOMMENDED")}
            | {"bom": str(JsonStrictValidator(SchemaVersion.V1_7).validate_str(bom))}
        )
    )


if __name__ == "__main__":
    main()

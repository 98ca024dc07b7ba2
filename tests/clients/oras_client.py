"""Push a file, attach an artifact to it, discover that, pull both: as a user of the oras library would.

Prints `ok WHAT` or `FAILED WHAT` for each check; oras.sh counts them.
"""

import hashlib
import json
import os
import pathlib

import oras.client
import oras.oci
import requests

REGISTRY, ALICE, BOB, PASSWORD = (os.environ[name] for name in ("REGISTRY", "ALICE", "BOB", "PASSWORD"))
REPOSITORY = f"{REGISTRY}/alice/oras"
SIGNATURE = "application/vnd.example.signature.v1+json"


def check(what, truth):
    print("ok" if truth else "FAILED", what, flush=True)


def client(user=None, backend="basic"):
    """A client that is logged in as a user, or as nobody.

    The library's token backend never asks for a second token, so with a password it can pull and no more:
    what pushes uses the password itself, or a token that was asked for without a scope.
    """
    made = oras.client.OrasClient(hostname=REGISTRY, insecure=True, auth_backend=backend if user else "token")
    if user:
        made.auth.set_basic_auth(user, PASSWORD)
    return made


def token(user):
    """A token with all of the user's rights."""
    return requests.get(f"http://{REGISTRY}/auth/token", auth=(user, PASSWORD), timeout=30).json()["token"]


def refused(action):
    """Whether the registry refuses; the library says so by raising, whatever it raises."""
    try:
        action()
    except Exception as error:
        print(f"refused: {error}")
        return True
    return False


def same(path, other):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).digest() == hashlib.sha256(pathlib.Path(other).read_bytes()).digest()


def main():
    alice = client(ALICE)
    pathlib.Path("notes.txt").write_text("what the release brings\n")
    pathlib.Path("signature.json").write_text('{"signed":true}\n')

    check("a push without a login is refused", refused(lambda: client().push(target=f"{REPOSITORY}:v1", files=["notes.txt"], quiet=True)))

    pushed = alice.push(target=f"{REPOSITORY}:v1", files=["notes.txt:text/plain", "small-1.tar"], quiet=True)
    check("pushes two files", pushed.status_code == 201)
    digest = pushed.headers["Docker-Content-Digest"]
    sent = pushed.request.body if isinstance(pushed.request.body, bytes) else pushed.request.body.encode()
    check("the digest is that of what was sent", digest == "sha256:" + hashlib.sha256(sent).hexdigest())

    pulled = client(ALICE).pull(target=f"{REPOSITORY}:v1", outdir="pulled")
    check("pulls both", sorted(os.path.basename(path) for path in pulled) == ["notes.txt", "small-1.tar"])
    check("as they were", same("notes.txt", "pulled/notes.txt") and same("small-1.tar", "pulled/small-1.tar"))
    check("pulls with a token that it asks for", len(client(ALICE, "token").pull(target=f"{REPOSITORY}:v1", outdir="by-token")) == 2)
    holder = client(ALICE, "token")
    holder.auth.set_token_auth(token(ALICE))
    check("pushes with a token that it was given", holder.push(target=f"{REPOSITORY}:v2", files=["notes.txt"], quiet=True).status_code == 201)
    check("pulls by digest", len(client(ALICE).pull(target=f"{REPOSITORY}@{digest}", outdir="by-digest")) == 2)

    chunked = client(ALICE).push(target=f"{REPOSITORY}:chunked", files=["small-1.tar"], do_chunked=True, chunk_size=300_000, quiet=True)
    check("pushes a file in chunks", chunked.status_code == 201)
    client(ALICE).pull(target=f"{REPOSITORY}:chunked", outdir="chunked")
    check("which arrives whole", same("small-1.tar", "chunked/small-1.tar"))

    subject = oras.oci.Subject("application/vnd.oci.image.manifest.v1+json", digest, len(sent))
    pathlib.Path("config.json").write_text("{}")
    attached = client(ALICE).push(
        target=f"{REPOSITORY}:signature",
        files=["signature.json"],
        manifest_config=f"config.json:{SIGNATURE}",
        manifest_annotations={"org.example.signer": "alice"},
        subject=subject,
        quiet=True,
    )
    check("attaches an artifact", attached.status_code == 201)
    check("and is told that its subject was seen", attached.headers.get("OCI-Subject") == digest)

    def referrers(of, artifact_type=None):
        url = f"http://{REGISTRY}/v2/alice/oras/referrers/{of}"
        if artifact_type:
            url += "?artifactType=" + artifact_type.replace("+", "%2B")
        response = client(ALICE).do_request(url, "GET")
        return response.headers.get("OCI-Filters-Applied"), json.loads(response.content)["manifests"]

    _, found = referrers(digest)
    check("discovers it", [one["digest"] for one in found] == [attached.headers["Docker-Content-Digest"]])
    check("by its type", found[0]["artifactType"] == SIGNATURE and found[0]["annotations"] == {"org.example.signer": "alice"})
    applied, found = referrers(digest, SIGNATURE)
    check("also when asked for that type", applied == "artifactType" and len(found) == 1)
    _, found = referrers(digest, "application/vnd.example.sbom.v1+json")
    check("and not for another", found == [])
    _, found = referrers("sha256:" + "0" * 64)
    check("nothing speaks of what is not there", found == [])
    client(ALICE).pull(target=f"{REPOSITORY}@{attached.headers['Docker-Content-Digest']}", outdir="attached")
    check("pulls what it discovered", same("signature.json", "attached/signature.json"))

    check("lists tags", client(ALICE).get_tags(REPOSITORY) == ["chunked", "signature", "v1", "v2"])
    check("deletes a tag", client(ALICE).delete_tags(REPOSITORY, "chunked") == ["chunked"])
    check("which is gone", client(ALICE).get_tags(REPOSITORY) == ["signature", "v1", "v2"])

    check("a private artifact is refused without a login", refused(lambda: client().pull(target=f"{REPOSITORY}:v1", outdir="none")))
    check("and is not there for bob", refused(lambda: client(BOB).pull(target=f"{REPOSITORY}:v1", outdir="none")))
    check("bob may not push there", refused(lambda: client(BOB).push(target=f"{REPOSITORY}:v9", files=["notes.txt"], quiet=True)))


main()

use super::*;

/// Alice's repository with an image's blobs in it.
async fn with_blobs(metadata: &Metadata) -> (Account, PushTarget, Digest, Digest) {
    let alice = user(metadata, "alice").await;
    let target = push_by(&alice, "alice/app");
    let (config, layer) = (push_blob(metadata, &target, b"config").await, push_blob(metadata, &target, b"layer").await);
    (alice, target, config, layer)
}

/// R-MGT-01, R-MGT-02, R-MGT-10, R-TAG-04.
#[test]
fn a_manifest_is_served_as_it_was_pushed_by_digest_and_tag() {
    on_each(|metadata| async move {
        let (_, target, config, layer) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let first = image(&config, &[(LAYER, &layer)], "").tagged(&["v1", "latest"]);
        metadata.put_manifest(target.clone(), first.clone()).await.unwrap();
        let get = async |reference: Reference| metadata.manifest(id, &reference).await.unwrap();
        for reference in [by_tag("v1"), by_tag("latest"), Reference::Digest(first.digest.clone())] {
            let found = get(reference).await.unwrap();
            assert_eq!((found.bytes, found.digest), (first.bytes.clone(), first.digest.clone()));
            assert_eq!(&*found.media_type, MediaType::OCI_MANIFEST);
        }
        assert_eq!(get(by_tag("v2")).await, None);
        let second = image(&config, &[], "").tagged(&["latest"]);
        metadata.put_manifest(target.clone(), second.clone()).await.unwrap();
        assert_eq!(get(by_tag("latest")).await.unwrap().digest, second.digest);
        assert_eq!(get(by_tag("v1")).await.unwrap().digest, first.digest);

        let filter = AuditFilter { action: Some(AuditAction::TagMove), ..AuditFilter::default() };
        let log = metadata.audit_log(&filter, None, 10).await.unwrap();
        assert_eq!(log.len(), 1, "a tag that is new or stays does not move");
        assert_eq!(&*log[0].target, "tag:alice/app:latest");
        assert_eq!(log[0].detail.as_deref(), Some(&*format!("{} -> {}", first.digest, second.digest)));
        metadata.put_manifest(target, second).await.unwrap();
        assert_eq!(metadata.audit_log(&filter, None, 10).await.unwrap().len(), 1);
    });
}

/// R-MPT-09, R-MPT-10, R-MPT-12, I3.
#[test]
fn what_is_missing_is_named_and_nothing_is_stored() {
    on_each(|metadata| async move {
        let (_, target, config, layer) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let (absent, foreign) = (digest_of(b"absent"), digest_of(b"foreign"));
        let bad = image(&config, &[(LAYER, &absent), (FOREIGN, &foreign), (LAYER, &layer)], "").tagged(&["v1"]);
        let refused = metadata.put_manifest(target.clone(), bad.clone()).await;
        assert!(matches!(&refused, Err(PutError::Missing(missing)) if *missing == [absent.clone()]), "{refused:?}");
        assert_eq!(metadata.manifest(id, &Reference::Digest(bad.digest.clone())).await.unwrap(), None);
        assert_eq!(metadata.tags(id, None, 10).await.unwrap().iter().next(), None);

        let bad_index = index(&[&absent], "");
        let refused = metadata.put_manifest(target.clone(), bad_index.clone()).await;
        assert!(matches!(&refused, Err(PutError::Missing(missing)) if *missing == [absent.clone()]), "{refused:?}");
        metadata.put_manifest(target.clone(), NewManifest { sparse: true, ..bad }).await.unwrap();
        metadata.put_manifest(target.clone(), NewManifest { sparse: true, ..bad_index }).await.unwrap();

        // A child may be a manifest or a blob (BuildKit's cache).
        let child = image(&config, &[], "");
        metadata.put_manifest(target.clone(), child.clone()).await.unwrap();
        metadata.put_manifest(target.clone(), index(&[&child.digest, &layer], "")).await.unwrap();
        let unknown = push_by(&user(&metadata, "bob").await, "bob/app");
        let refused = metadata.put_manifest(unknown, image(&config, &[], "")).await;
        assert!(matches!(refused, Err(PutError::Missing(_))), "another repository's blobs count for nothing");
        assert!(metadata.repository(&"bob/app".parse().unwrap()).await.unwrap().is_none());
    });
}

/// A reference holds its blob also where the blob came later than the manifest.
#[test]
fn a_blob_that_comes_later_is_held_by_what_named_it() {
    on_each(|metadata| async move {
        let (alice, target, config, _) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let foreign = digest_of(b"foreign");
        metadata.put_manifest(target.clone(), image(&config, &[(FOREIGN, &foreign)], "")).await.unwrap();
        let mounted = digest_of(b"mounted");
        let other = image(&config, &[(FOREIGN, &mounted)], "");
        metadata.put_manifest(target.clone(), other.clone()).await.unwrap();
        push_blob(&metadata, &target, b"foreign").await;
        push_blob(&metadata, &push_by(&alice, "alice/other"), b"mounted").await;
        let from = id_of(&metadata, "alice/other").await;
        // Not told apart from one that is nowhere (I4), nor held by what is elsewhere.
        assert!(!metadata.mount_blob(target.clone(), None, mounted.clone()).await.unwrap());
        assert!(metadata.mount_blob(target.clone(), Some(from), mounted.clone()).await.unwrap());
        for digest in [foreign, mounted] {
            let deleted = metadata.delete_blob(id, digest, origin()).await.unwrap();
            assert_eq!(deleted, DeleteBlob::Referenced(1));
        }
    });
}

/// R-MPT-16: the same bytes under another media type are the manifest that is there already.
#[test]
fn a_manifest_that_is_there_keeps_its_media_type() {
    on_each(|metadata| async move {
        let (_, target, config, layer) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let first = image(&config, &[(LAYER, &layer)], "").tagged(&["a"]);
        let mut second = first.clone().tagged(&["b"]);
        second.manifest.media_type = "application/vnd.docker.distribution.manifest.v2+json".parse().unwrap();
        second.manifest.subject = Some(digest_of(b"a subject"));
        let reference = Reference::Digest(first.digest.clone());
        for manifest in [&first, &second] {
            metadata.put_manifest(target.clone(), manifest.clone()).await.unwrap();
            for _ in 0..2 {
                let stored = metadata.manifest(id, &reference).await.unwrap().unwrap();
                assert_eq!(&*stored.media_type, first.manifest.media_type.as_str());
            }
        }
        let tagged = metadata.manifest(id, &Reference::Tag("b".parse().unwrap())).await.unwrap().unwrap();
        assert_eq!(tagged.digest, first.digest);
    });
}

/// R-MDL-01, R-MDL-02, R-MDL-06.
#[test]
fn a_manifest_goes_with_its_tags_and_a_tag_goes_alone() {
    on_each(|metadata| async move {
        let (alice, target, config, layer) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let first = image(&config, &[(LAYER, &layer)], "").tagged(&["a", "b", "c"]);
        let second = image(&config, &[], "").tagged(&["d"]);
        for manifest in [&first, &second] {
            metadata.put_manifest(target.clone(), manifest.clone()).await.unwrap();
        }
        assert!(metadata.delete_tag(id, "c".parse().unwrap(), as_user(&alice)).await.unwrap());
        assert!(!metadata.delete_tag(id, "c".parse().unwrap(), as_user(&alice)).await.unwrap());
        assert!(metadata.manifest(id, &Reference::Digest(first.digest.clone())).await.unwrap().is_some());
        assert_eq!(metadata.manifest(id, &by_tag("c")).await.unwrap(), None);
        assert!(metadata.manifest(id, &by_tag("a")).await.unwrap().is_some());

        metadata.put_manifest(target.clone(), index(&[&first.digest], "")).await.unwrap();
        assert!(metadata.delete_manifest(id, first.digest.clone(), as_user(&alice)).await.unwrap());
        assert!(!metadata.delete_manifest(id, first.digest.clone(), as_user(&alice)).await.unwrap());
        for reference in [by_tag("a"), by_tag("b"), Reference::Digest(first.digest.clone())] {
            assert_eq!(metadata.manifest(id, &reference).await.unwrap(), None, "{reference}");
        }
        assert_eq!(names(metadata.tags(id, None, 10).await.unwrap().iter()), ["d"]);
        let filter = AuditFilter { actor: Some("user:alice".to_owned()), ..AuditFilter::default() };
        let log = metadata.audit_log(&filter, None, 4).await.unwrap();
        let actions = names(log.iter().map(|entry| &entry.action));
        assert_eq!(actions, ["manifest.delete", "tag.delete", "tag.delete", "tag.delete"]);
    });
}

#[test]
fn when_its_manifest_goes_a_blob_has_a_lease_again() {
    on_each(|metadata| async move {
        let (_, target, config, layer) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let image = image(&config, &[(LAYER, &layer)], "");
        metadata.put_manifest(target, image.clone()).await.unwrap();
        metadata.set_leases(Timestamp::from_micros(0)).await;
        metadata.delete_manifest(id, image.digest, origin()).await.unwrap();
        for digest in [config, layer] {
            assert!(metadata.leased_until(id, &digest).await > Timestamp::now());
        }
    });
}

/// R-REF-04 to R-REF-11.
#[test]
fn referrers_are_listed_from_the_moment_they_are_pushed() {
    on_each(|metadata| async move {
        let (_, target, config, _) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let subject = digest_of(b"a subject that never comes");
        let subject_field = format!(r#","subject":{}"#, descriptor(MediaType::OCI_MANIFEST, &subject));
        let typed = |kind: &str, n: u8| {
            let more = format!(r#"{subject_field},"artifactType":"application/{kind}","annotations":{{"n":"{n}"}}"#);
            image(&config, &[], &more)
        };
        let (sbom, signature) = (typed("sbom+json", 1), typed("signature", 2));
        let plain = image(&config, &[], &subject_field);
        let indexed = index(&[], &subject_field);
        for manifest in [&sbom, &signature, &plain, &indexed] {
            metadata.put_manifest(target.clone(), manifest.clone()).await.unwrap();
            metadata.put_manifest(target.clone(), manifest.clone()).await.unwrap();
        }
        let list = async |types: &[&str]| {
            let page = metadata.referrers(id, &subject, &names(types), None, 100, 4 << 20).await.unwrap();
            assert_eq!(page.next, None);
            serde_json::from_str::<Vec<serde_json::Value>>(&format!("[{}]", page.descriptors)).unwrap()
        };
        let all = list(&[]).await;
        assert_eq!(all.len(), 4);
        let of = |manifest: &NewManifest| {
            all.iter().find(|entry| entry["digest"] == manifest.digest.as_str()).unwrap().clone()
        };
        assert_eq!(of(&sbom)["annotations"], serde_json::json!({"n": "1"}));
        assert_eq!(of(&sbom)["artifactType"], "application/sbom+json");
        assert_eq!(of(&sbom)["size"], sbom.bytes.len());
        assert_eq!(of(&plain)["artifactType"], CONFIG);
        assert!(of(&plain).get("annotations").is_none() && of(&indexed).get("artifactType").is_none());
        assert_eq!(of(&indexed)["mediaType"], MediaType::OCI_INDEX);
        assert_eq!(list(&["application/sbom+json"]).await.len(), 1);
        assert_eq!(list(&["application/sbom+json", "application/signature"]).await.len(), 2);
        assert_eq!(list(&["application/other", "nul\0"]).await.len(), 0);
        metadata.delete_manifest(id, sbom.digest.clone(), origin()).await.unwrap();
        assert_eq!(list(&[]).await.len(), 3);
        assert_eq!(list(&["application/sbom+json"]).await.len(), 0);
    });
}

/// R-REF-09: a page is bounded by count and by bytes, and the pages together are all.
#[test]
fn pages_of_referrers_are_bounded_by_count_and_bytes() {
    on_each(|metadata| async move {
        let (_, target, config, _) = with_blobs(&metadata).await;
        let id = id_of(&metadata, "alice/app").await;
        let subject = digest_of(b"subject");
        let subject_field = descriptor(MediaType::OCI_MANIFEST, &subject);
        let mut all = Vec::new();
        for n in 0..12 {
            let filler = "x".repeat(n * 100);
            let kind = n % 2;
            let more = format!(
                r#","subject":{subject_field},"artifactType":"a/{kind}","annotations":{{"n":"{n}","filler":"{filler}"}}"#
            );
            let manifest = image(&config, &[], &more);
            metadata.put_manifest(target.clone(), manifest.clone()).await.unwrap();
            all.push((manifest.digest, kind));
        }
        all.sort();
        for (types, count, bytes) in
            [(vec![], 5, 1 << 20), (vec![], 100, 1500), (vec![], 100, 1), (vec!["a/1".to_owned()], 100, 1500)]
        {
            let expected: Vec<_> =
                all.iter().filter(|(_, kind)| types.is_empty() || *kind == 1).map(|(digest, _)| digest).collect();
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = metadata.referrers(id, &subject, &types, after.as_ref(), count, bytes).await.unwrap();
                let entries: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", page.descriptors)).unwrap();
                assert!(entries.len() <= count && (entries.len() == 1 || page.descriptors.len() <= bytes));
                let mut digests: Vec<Digest> =
                    entries.iter().map(|entry| entry["digest"].as_str().unwrap().parse().unwrap()).collect();
                digests.sort();
                seen.extend(digests);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
        }
    });
}

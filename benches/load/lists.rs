//! Lists: tags and referrers, page by page. A list is walked and checked in full
//! once; the timed ones must have the same bytes.

use serde_json::Value;

use crate::client::{Client, Repository, path_of};
use crate::content::{ARTIFACT, Image, Manifest};
use crate::drive::{Plan, drive};
use crate::line::{Reply, Request};
use crate::servers::Server;
use crate::table::Row;
use crate::{KIB, Result, Scale};

pub(crate) async fn tags(server: &Server, scale: &Scale, count: usize) -> Result<Vec<Row>> {
    let count = scale.count(count);
    let repository = Repository::new(&format!("tags-{count}"));
    let image = &Image::many("tags", 1, 1, KIB)[0];
    if server.first(&repository.name) {
        repository.push_image(&mut server.client(), image).await?;
        let push = async |client: &mut Client, nth: usize| {
            repository.push_manifest(client, &format!("t{nth:07}"), &image.manifest).await
        };
        server.push(16, count, push).await?;
    }
    let mut client = server.client();
    let start = format!("/v2/{}/tags/list?n=1000", repository.name);
    let pages = walk(&mut client, &repository, &start).await?;
    let mut tags = strings(&pages, "tags")?;
    let in_order = tags.is_sorted();
    tags.sort_unstable();
    tags.dedup();
    // The specification wants an order; the reference is not held to it here.
    if tags.len() != count + 1 || !in_order && server.kind.is_ours() {
        return Err(format!("{} tags listed of {}, in order: {in_order}", tags.len(), count + 1).into());
    }
    let plan = Plan { clients: 1, count: 3, at_least: scale.at_least(), writes: 0 };
    let mut rows = Vec::new();
    let path = format!("/v2/{}/tags/list?n=100", repository.name);
    let first = client.get(&repository.pull, &path).await?.body;
    let page = async |client: &mut Client, _| {
        let reply = client.get(&repository.pull, &path).await?;
        if reply.body == first { Ok(()) } else { Err("another first page".into()) }
    };
    rows.push(Row::requests(format!("tags, first page of 100 of {count}"), &drive(server, plan, page).await?));
    // Where there are more, the walk tells nothing new.
    if count <= 10_000 {
        let len = length(&pages);
        let phase = drive(server, plan, async |client, _| same(client, &repository, &start, len).await).await?;
        let walks = phase.latencies.len();
        rows.push(Row::operations(format!("tags, walk of {count} by 1000"), &phase, walks, " walks/s"));
    }
    Ok(rows)
}

pub(crate) async fn referrers(server: &Server, scale: &Scale) -> Result<Vec<Row>> {
    let repository = Repository::new("referrers");
    let image = &Image::many("referrers", 1, 1, KIB)[0];
    let count = scale.count(1000);
    let start = format!("/v2/{}/referrers/{}", repository.name, image.manifest.digest);
    let mut client = server.client();
    if server.first("referrers") {
        repository.push_image(&mut client, image).await?;
    }
    // A registry of before OCI 1.1 does not know the path.
    if client.ask(&repository.pull, &Request::new("GET", &start)).await?.status == 404 {
        return Ok(Vec::new());
    }
    if server.first("referrers, pushed") {
        let referrer = |nth| Manifest::referrer(&image.manifest, &image.blobs[0], nth);
        let push = async |client: &mut Client, nth| {
            let manifest = referrer(nth);
            repository.push_manifest(client, &manifest.digest, &manifest).await
        };
        server.push(8, count, push).await?;
    }
    let pages = walk(&mut client, &repository, &start).await?;
    let mut found = 0;
    for page in &pages {
        let index: Value = serde_json::from_slice(&page.body)?;
        let list = index["manifests"].as_array().ok_or("no list of manifests")?;
        found += list.iter().filter(|one| one["artifactType"] == ARTIFACT && one["annotations"].is_object()).count();
    }
    if found != count {
        return Err(format!("{found} referrers listed of {count}").into());
    }
    let len = length(&pages);
    let plan = Plan { clients: 4, count: 20, at_least: scale.at_least(), writes: 0 };
    let phase = drive(server, plan, async |client, _| same(client, &repository, &start, len).await).await?;
    let name = format!("referrers, {count} to one subject, 4 connections");
    Ok(vec![Row::operations(name, &phase, phase.latencies.len(), " lists/s")])
}

/// Follows the links from page to page.
async fn walk(client: &mut Client, repository: &Repository, start: &str) -> Result<Vec<Reply>> {
    let (mut pages, mut path) = (Vec::new(), Some(start.to_owned()));
    while let Some(this) = path {
        let page = client.get(&repository.pull, &this).await?;
        let next = page.header("link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        path = next.map(|(next, _)| path_of(next).to_owned());
        pages.push(page);
    }
    Ok(pages)
}

async fn same(client: &mut Client, repository: &Repository, start: &str, len: usize) -> Result {
    let pages = walk(client, repository, start).await?;
    if length(&pages) == len { Ok(()) } else { Err(format!("{start}: a list of another length").into()) }
}

fn length(pages: &[Reply]) -> usize {
    pages.iter().map(|page| page.len).sum()
}

fn strings(pages: &[Reply], name: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for page in pages {
        let mut page: serde_json::Map<String, Value> = serde_json::from_slice(&page.body)?;
        all.extend(serde_json::from_value::<Vec<String>>(page.remove(name).ok_or("no list")?)?);
    }
    Ok(all)
}

//! Which model a name stands for, which models a request's needs leave, and
//! how far a chain may reach.

mod port;
mod support;

use port::{ask, ask_with, one_with, own_error, said, table, two};
use serde_json::json;
use support::{Daemon, Provider, Reply, chain_config, chain_config_with, post_chat};

const TIERS: &str = "[tiers]\nNANO = [\"a/m1\"]\nSIMPLE = [\"a/m1\"]\nLIGHT = [\"a/m1\"]\nSTANDARD = [\"a/m1\"]\nCOMPLEX = [\"b/m1\"]\n";

#[test]
fn auto_nothing_null_and_an_empty_name_let_routor_choose() {
    let (a, _b, daemon) = two(TIERS);
    for fields in [json!({"model": "auto"}), json!({}), json!({"model": null}), json!({"model": ""})] {
        assert_eq!(said(&post_chat(daemon.port(), ask_with(&fields))), "from a", "{fields}");
    }
    assert!(a.chats().iter().all(|chat| chat.json()["model"] == "m1"), "{:?}", a.chats());
}

#[test]
fn a_tier_is_named_in_any_case() {
    let (_a, _b, daemon) = two(TIERS);
    for name in ["COMPLEX", "complex", "Complex"] {
        assert_eq!(said(&post_chat(daemon.port(), ask(name))), "from b", "{name}");
    }
    assert_eq!(said(&post_chat(daemon.port(), ask("light"))), "from a");
}

#[test]
fn an_alias_stands_for_a_model() {
    let (_a, b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"b/m7\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from b");
    assert_eq!(b.chats()[0].json()["model"], "m7");
}

#[test]
fn an_alias_stands_for_a_tier() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"COMPLEX\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from b");
}

#[test]
fn an_alias_stands_for_a_list_that_is_its_chain() {
    let (a, b, daemon) = two(&format!("{TIERS}[aliases]\n\"fast\" = [\"b/m1\", \"a/m2\"]\n"));
    b.then(Reply::status(503));
    assert_eq!(said(&post_chat(daemon.port(), ask("fast"))), "from a");
    assert_eq!((b.chats()[0].json()["model"].clone(), a.chats()[0].json()["model"].clone()), (json!("m1"), json!("m2")));
}

#[test]
fn an_alias_stands_for_auto() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"auto\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from a");
}

#[test]
fn an_alias_comes_before_a_tier_and_a_model_of_the_same_name() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"LIGHT\" = \"b/m1\"\n\"a/m1\" = \"b/m1\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("LIGHT"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("a/m1"))), "from b");
}

#[test]
fn the_star_stands_for_every_name_that_nobody_knows() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"*\" = \"COMPLEX\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-99-turbo"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("nobody/knows"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("light"))), "from a");
}

#[test]
fn provider_slash_model_is_asked_at_that_provider_by_its_own_id() {
    let (_a, b, daemon) = two(TIERS);
    assert_eq!(said(&post_chat(daemon.port(), ask("b/m1"))), "from b");
    assert_eq!(b.chats()[0].json()["model"], "m1");
}

#[test]
fn a_listed_model_can_be_asked_for_by_its_bare_name() {
    let (a, b) = (Provider::start(), Provider::start());
    a.model_ids(&["m1"]);
    b.model_ids(&["m1", "qwen/qwen3-32b"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(post_chat(daemon.port(), ask("qwen/qwen3-32b")).status, 200);
    assert_eq!(b.chats()[0].json()["model"], "qwen/qwen3-32b");
    assert_eq!(a.count(), 0);
}

#[test]
fn a_named_model_falls_back_to_the_same_model_elsewhere_and_then_to_its_tier() {
    let (a, b, c) = (Provider::start(), Provider::start(), Provider::start());
    a.model_ids(&["big"]);
    b.model_ids(&["big"]);
    c.model_ids(&["m1"]);
    for provider in [&a, &b] {
        provider.always(Reply::status(503));
    }
    let config = chain_config_with(&[("c", &c)], "").replace("only = [\"c\"]", "only = [\"a\", \"b\", \"c\"]");
    let daemon = Daemon::start(format!("{}{}{config}", table("a", &a), table("b", &b)));
    assert_eq!(said(&post_chat(daemon.port(), ask("a/big"))), "hello");
    let chain = daemon.wait_logs(1)[0]["chain"].clone();
    assert_eq!(chain, json!(["a/big", "b/big", "c/m1"]));
    assert_eq!((a.count(), b.count(), c.count()), (1, 1, 1));
}

#[test]
fn the_profile_direct_is_a_chain_of_one() {
    let (a, b, daemon) = two(TIERS);
    a.always(Reply::status(503));
    let response = post_chat(daemon.port(), ask_with(&json!({"model": "a/m1", "routor_profile": "direct"})));
    assert_eq!(response.status, 502);
    assert_eq!((a.count(), b.count()), (1, 0));
    assert_eq!(daemon.wait_logs(1)[0]["chain"], json!(["a/m1"]));
}

#[test]
fn the_profile_tier_goes_by_routor_tier() {
    let (_a, b, daemon) = two(TIERS);
    let fields = json!({"model": "a/m1", "routor_profile": "tier", "routor_tier": "COMPLEX"});
    assert_eq!(said(&post_chat(daemon.port(), ask_with(&fields))), "from b");
    assert_eq!(b.count(), 1);
}

#[test]
fn routor_fields_do_not_go_upstream() {
    let (_a, b, daemon) = two(TIERS);
    let fields = json!({"routor_profile": "tier", "routor_tier": "complex", "routor_later": {"x": 1}, "user": "u"});
    assert_eq!(post_chat(daemon.port(), ask_with(&fields)).status, 200);
    let sent = b.chats()[0].json();
    let names: Vec<&String> = sent.as_object().unwrap().keys().filter(|name| name.starts_with("routor_")).collect();
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(sent["user"], "u");
}

/// `deepseek/deepseek-v4-pro` is a model of the catalogue that reads no images.
fn blind(provider: &Provider) -> String {
    provider.model_ids(&["deepseek-v4-pro"]).always(Reply::answer("blind"));
    table("deepseek", provider)
}

fn picture(model: &str) -> String {
    let content = json!([{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]);
    json!({"model": model, "messages": [{"role": "user", "content": content}]}).to_string()
}

#[test]
fn a_model_that_reads_no_images_is_left_out_for_an_image() {
    let (a, deepseek) = (Provider::start(), Provider::start());
    let tiers = "[tiers]\nLIGHT = [\"deepseek/deepseek-v4-pro\", \"a/m1\"]\n[pool]\nonly = [\"a\", \"deepseek\"]\n";
    let daemon = Daemon::start(format!("{}{}{tiers}", table("a", &a), blind(&deepseek)));
    assert_eq!(said(&post_chat(daemon.port(), ask("LIGHT"))), "blind");
    assert_eq!(said(&post_chat(daemon.port(), picture("LIGHT"))), "hello");
    let record = daemon.wait_logs(2).remove(1);
    assert_eq!(record["skipped"], json!([{"provider": "deepseek", "model": "deepseek-v4-pro", "why": "vision"}]), "{record}");
    assert_eq!(record["outcome"], "served", "{record}");
}

#[test]
fn when_a_tier_cannot_do_it_the_next_tier_up_is_asked() {
    let (a, deepseek) = (Provider::start(), Provider::start());
    let blind_ones = "[\"deepseek/deepseek-v4-pro\"]";
    let tiers = format!(
        "[tiers]\nNANO = [\"a/low\"]\nSIMPLE = [\"a/low\"]\nLIGHT = {blind_ones}\nSTANDARD = {blind_ones}\nCOMPLEX = [\"a/m1\"]\n[pool]\nonly = [\"a\", \"deepseek\"]\n"
    );
    let daemon = Daemon::start(format!("{}{}{tiers}", table("a", &a), blind(&deepseek)));
    assert_eq!(said(&post_chat(daemon.port(), picture("LIGHT"))), "hello");
    assert_eq!(a.chats()[0].json()["model"], "m1");
}

#[test]
fn when_no_model_can_do_it_the_400_names_the_filter() {
    let deepseek = Provider::start();
    let blind_ones = "[\"deepseek/deepseek-v4-pro\"]";
    let tiers = format!(
        "[tiers]\nNANO = {blind_ones}\nSIMPLE = {blind_ones}\nLIGHT = {blind_ones}\nSTANDARD = {blind_ones}\nCOMPLEX = {blind_ones}\n[pool]\nonly = [\"deepseek\"]\n"
    );
    let daemon = Daemon::start(format!("{}{tiers}", blind(&deepseek)));
    let message = own_error(&post_chat(daemon.port(), picture("LIGHT")), 400, "no_capable_model");
    assert!(message.contains("image") || message.contains("vision"), "{message}");
    assert_eq!(deepseek.count(), 0);
}

#[test]
fn an_unknown_capability_excludes_nothing() {
    let (a, daemon) = one_with("[models.\"a/m1\"]\ncapabilities = [\"tools\"]\n");
    assert_eq!(post_chat(daemon.port(), picture("auto")).status, 200);
    assert_eq!(a.count(), 1);
}

/// A provider that is not on this machine, as routor sees it: its address is
/// private and behind a proxy, which answers for it.
fn far_config(near: &Provider, extra: &str) -> String {
    let far = "[providers.far]\nbase_url = \"http://10.255.255.1:8000/v1\"\napi_key_env = \"\"\n";
    let tiers = "[tiers]\nNANO = [\"far/m1\"]\nSIMPLE = [\"far/m1\"]\nLIGHT = [\"near/m1\", \"far/m1\"]\nSTANDARD = [\"far/m1\"]\nCOMPLEX = [\"far/m1\"]\n";
    format!("{}{far}[pool]\nonly = [\"near\", \"far\"]\n{tiers}{extra}", table("near", near))
}

fn near_and_far(aliases: &str) -> (Provider, Provider, Daemon) {
    let (near, proxy) = (Provider::start(), Provider::start());
    near.always(Reply::status(503));
    // It is asked to open a tunnel, and then stands for the far end itself.
    proxy.on(":8000", Reply::raw("HTTP/1.1 200 Connected\r\n\r\n")).always(Reply::answer("from far"));
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let daemon = Daemon::builder().config(far_config(&near, aliases)).env("HTTP_PROXY", &url).env("http_proxy", &url).start();
    (near, proxy, daemon)
}

#[test]
fn a_chain_without_local_only_may_leave_the_machine() {
    let (near, proxy, daemon) = near_and_far("[aliases]\n\"open\" = \"LIGHT\"\n");
    assert_eq!(said(&post_chat(daemon.port(), ask("open"))), "from far");
    assert_eq!((near.count(), proxy.count()), (1, 1));
}

#[test]
fn a_local_only_alias_never_leaves_the_machine() {
    let aliases = "[aliases]\n\"tier\" = { to = \"LIGHT\", local_only = true }\n\"model\" = { to = \"near/m1\", local_only = true }\n\"list\" = { to = [\"far/m1\", \"near/m1\"], local_only = true }\n";
    let (near, proxy, daemon) = near_and_far(aliases);
    for alias in ["tier", "model", "list"] {
        assert_eq!(post_chat(daemon.port(), ask(alias)).status, 502, "{alias}");
    }
    assert_eq!((near.count(), proxy.count()), (3, 0));
}

#[test]
fn a_local_only_alias_of_remote_models_alone_is_refused() {
    let (near, proxy, daemon) = near_and_far("[aliases]\n\"far\" = { to = \"far/m1\", local_only = true }\n");
    let response = post_chat(daemon.port(), ask("far"));
    if response.status != 502 {
        own_error(&response, 400, "no_capable_model");
    }
    assert_eq!(proxy.count(), 0);
    drop(near);
}

//! From a status and a body to a class. The body decides first, by the table
//! below; the status decides what no line of the table knows. To teach it a
//! new wording, add a line.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::class::Class;
use super::error_body::ErrorText;

/// One line of the table: when the status is one of these and the body says
/// all of these words, it is this class.
struct Line {
    class: Class,
    when: When,
    words: &'static [&'static str],
}

/// The statuses that a line is for.
#[derive(Clone, Copy)]
enum When {
    /// Any failure.
    Any,
    /// 400 to 499, or an error inside a 200.
    Client,
    /// The same without 429: a limit per minute speaks of tokens and prompts, too.
    Size,
    /// One status, or an error inside a 200.
    Only(u16),
}

impl When {
    fn fits(self, status: u16) -> bool {
        let embedded = status < 300;
        match self {
            When::Any => true,
            When::Client => embedded || (400..500).contains(&status),
            When::Size => embedded || (400..500).contains(&status) && status != 429,
            When::Only(one) => embedded || status == one,
        }
    }
}

const fn line(class: Class, when: When, words: &'static [&'static str]) -> Line {
    Line { class, when, words }
}

use Class::{Auth, ContentFilter, ContextWindow, ModelGone, NoCredit, Overloaded, RateLimited};
use When::{Any, Client, Only, Size};

/// In this order: money before rate limits (both are 429), the key before the
/// rest of 400, size before the rest of 400 and 403.
const TABLE: &[Line] = &[
    // Money and quota, whatever the status.
    line(NoCredit, Any, &["insufficient_quota"]),
    line(NoCredit, Any, &["insufficient_balance"]),
    line(NoCredit, Any, &["insufficient balance"]),
    line(NoCredit, Any, &["insufficient credit"]),
    line(NoCredit, Any, &["insufficient funds"]),
    line(NoCredit, Any, &["not enough credit"]),
    line(NoCredit, Any, &["not enough balance"]),
    line(NoCredit, Any, &["balance is too low"]),
    line(NoCredit, Any, &["balance is not enough"]),
    line(NoCredit, Any, &["balance not enough"]),
    line(NoCredit, Any, &["out of credit"]),
    line(NoCredit, Any, &["run out of credit"]),
    line(NoCredit, Any, &["credit", "exhausted"]),
    line(NoCredit, Any, &["billing_hard_limit"]),
    line(NoCredit, Any, &["billing_not_active"]),
    line(NoCredit, Any, &["payment required"]),
    line(NoCredit, Any, &["enforced_spend_limit_reached"]),
    line(NoCredit, Any, &["spend limit"]),
    line(NoCredit, Any, &["spending limit"]),
    line(NoCredit, Any, &["arrearage"]),
    line(NoCredit, Any, &["account is in good standing"]),
    line(NoCredit, Any, &["no resource package"]),
    line(NoCredit, Any, &["please recharge"]),
    line(NoCredit, Only(429), &["perday"]),
    line(NoCredit, Only(429), &["per day"]),
    line(NoCredit, Only(429), &["daily", "limit"]),
    line(NoCredit, Only(429), &["daily", "quota"]),
    // A limit per minute is no matter of money, whatever it says of plans and billing.
    line(RateLimited, Only(429), &["perminute"]),
    line(RateLimited, Only(429), &["per minute"]),
    line(RateLimited, Only(429), &["per second"]),
    line(NoCredit, Any, &["billing details"]),
    line(NoCredit, Any, &["exceeded your current quota", "plan"]),
    // The key.
    line(Auth, Client, &["api_key_invalid"]),
    line(Auth, Client, &["invalid_api_key"]),
    line(Auth, Client, &["incorrect_api_key"]),
    line(Auth, Client, &["api key not valid"]),
    line(Auth, Client, &["api key expired"]),
    line(Auth, Client, &["incorrect api key"]),
    line(Auth, Client, &["invalid api key"]),
    line(Auth, Client, &["invalid api-key"]),
    line(Auth, Client, &["invalid x-api-key"]),
    line(Auth, Client, &["bad-credentials"]),
    line(Auth, Client, &["authentication_error"]),
    line(Auth, Client, &["invalid_authentication"]),
    line(Auth, Client, &["login fail"]),
    line(Auth, Only(403), &["authorization failed"]),
    line(Auth, Only(403), &["authentication fail"]),
    line(Auth, Only(403), &["invalid token"]),
    line(Auth, Only(403), &["invalid access token"]),
    line(Auth, Only(403), &["invalid bearer token"]),
    line(Auth, Only(403), &["token is invalid"]),
    line(Auth, Only(403), &["token", "expired"]),
    line(Auth, Only(403), &["invalid", "credential"]),
    line(Auth, Only(403), &["key", "revoked"]),
    line(Auth, Only(403), &["key", "disabled"]),
    // The prompt is too long.
    line(ContextWindow, Any, &["context_length_exceeded"]),
    line(ContextWindow, Any, &["exceed_context_size"]),
    line(ContextWindow, Any, &["model_context_window_exceeded"]),
    line(ContextWindow, Size, &["maximum context length"]),
    line(ContextWindow, Size, &["exceeds the context"]),
    line(ContextWindow, Size, &["exceeds the available context"]),
    line(ContextWindow, Size, &["exceeds the maximum context"]),
    line(ContextWindow, Size, &["exceeds the model", "context"]),
    line(ContextWindow, Size, &["exceed", "context window"]),
    line(ContextWindow, Size, &["exceed", "context length"]),
    line(ContextWindow, Size, &["exceed", "context size"]),
    line(ContextWindow, Size, &["greater than the context length"]),
    line(ContextWindow, Size, &["less than the context length"]),
    line(ContextWindow, Size, &["larger than the context"]),
    line(ContextWindow, Size, &["prompt is too long"]),
    line(ContextWindow, Size, &["prompt too long"]),
    line(ContextWindow, Size, &["input is too long"]),
    line(ContextWindow, Size, &["input token", "too long"]),
    line(ContextWindow, Size, &["input token", "exceed"]),
    line(ContextWindow, Size, &["too many tokens", "prompt"]),
    line(ContextWindow, Size, &["maximum prompt length"]),
    line(ContextWindow, Size, &["maximum input length"]),
    line(ContextWindow, Size, &["prompt exceeds max length"]),
    line(ContextWindow, Size, &["exceeded model token limit"]),
    line(ContextWindow, Size, &["token count", "exceeds the limit"]),
    line(ContextWindow, Size, &["range of input length should be"]),
    line(ContextWindow, Size, &["reduce the length of"]),
    line(ContextWindow, Only(413), &["request too large"]),
    // The provider refuses the content.
    line(ContentFilter, Client, &["content_filter"]),
    line(ContentFilter, Client, &["responsibleaipolicyviolation"]),
    line(ContentFilter, Client, &["content management policy"]),
    line(ContentFilter, Client, &["data_inspection_failed"]),
    line(ContentFilter, Client, &["datainspectionfailed"]),
    line(ContentFilter, Client, &["content_policy_violation"]),
    line(ContentFilter, Client, &["considered high risk"]),
    line(ContentFilter, Only(403), &["moderation"]),
    line(ContentFilter, Only(403), &["flagged"]),
    // The model is gone.
    line(ModelGone, Client, &["model_not_found"]),
    line(ModelGone, Client, &["model_decommissioned"]),
    line(ModelGone, Client, &["model", "decommissioned"]),
    line(ModelGone, Client, &["model", "no longer available"]),
    line(ModelGone, Client, &["model", "no longer supported"]),
    line(ModelGone, Client, &["model", "has been retired"]),
    line(ModelGone, Client, &["model", "has been deprecated"]),
    line(ModelGone, Client, &["model_not_available"]),
    line(ModelGone, Only(400), &["model", "does not exist"]),
    line(ModelGone, Only(400), &["model", "not found"]),
    line(ModelGone, Only(400), &["unknown model"]),
    line(ModelGone, Only(400), &["invalid model"]),
    line(ModelGone, Only(400), &["not a valid model"]),
    // Too much to do.
    line(Overloaded, Any, &["overloaded"]),
    line(Overloaded, Client, &["degraded function"]),
    line(Overloaded, Client, &["engine", "overload"]),
    // Too many requests.
    line(RateLimited, Client, &["rate_limit"]),
    line(RateLimited, Client, &["resource_exhausted"]),
    line(RateLimited, Client, &["rate limit"]),
    line(RateLimited, Client, &["too many requests"]),
    line(RateLimited, Client, &["tier_capacity_exceeded"]),
];

/// MiniMax's and Z.AI's own numbers, which say more than their statuses.
const NUMBERS: &[(&str, Class)] = &[
    ("1004", Auth),
    ("2049", Auth),
    ("1008", NoCredit),
    ("1113", NoCredit),
    ("1261", ContextWindow),
    ("1302", RateLimited),
    ("1002", RateLimited),
    ("1039", RateLimited),
    ("1026", ContentFilter),
    ("1027", ContentFilter),
];

/// The class of an answer whose status says that it failed.
pub fn classify(status: u16, body: &ErrorText) -> Class {
    by_body(status, body).unwrap_or_else(|| by_status(status, body))
}

/// The class of an error inside an answer that came with a good status. What
/// nothing is known of is garbled: the caller is never blamed for it.
pub fn classify_embedded(body: &ErrorText) -> Class {
    if let Some(class) = by_body(body.status.unwrap_or(200), body) {
        return class;
    }
    match body.status.map(|status| by_status(status, body)) {
        Some(Class::BadRequest) | None => Class::Garbled,
        Some(class) => class,
    }
}

/// All words of the table, to be looked for in one go: to look for each on its
/// own takes longer than everything else that is done for a failed attempt.
struct Words {
    search: AhoCorasick,
    /// For each line of the table, which words it needs.
    lines: Vec<Said>,
}

/// A set of the table's words, a bit for each.
type Said = [u64; 3];

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words: Vec<&str> = TABLE.iter().flat_map(|line| line.words).copied().collect();
    words.sort_unstable();
    words.dedup();
    let needs = |line: &Line| {
        let places = line.words.iter().filter_map(|word| words.binary_search(word).ok());
        places.fold(Said::default(), with)
    };
    let lines = TABLE.iter().map(needs).collect();
    // The largest of its forms and the fastest; there are few words. Building fails only for patterns by the million.
    let search =
        AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(&words).unwrap_or_else(|_| unreachable!("the table's words are few"));
    Words { search, lines }
});

fn with(mut said: Said, place: usize) -> Said {
    if let Some(part) = said.get_mut(place / 64) {
        *part |= 1 << (place % 64);
    }
    said
}

impl Words {
    /// Those that a body holds, in its codes or its prose.
    fn said(&self, body: &ErrorText) -> Said {
        let found = [&body.codes, &body.prose].into_iter().flat_map(|text| self.search.find_overlapping_iter(text.as_str()));
        found.map(|found| found.pattern().as_usize()).fold(Said::default(), with)
    }
}

fn by_body(status: u16, body: &ErrorText) -> Option<Class> {
    let said = WORDS.said(body);
    let says = |needs: &Said| needs.iter().zip(&said).all(|(needs, said)| needs & !said == 0);
    let known = TABLE.iter().zip(&WORDS.lines).find(|(line, needs)| line.when.fits(status) && says(needs)).map(|(line, _)| line.class);
    let numbered = || NUMBERS.iter().find(|(number, _)| body.has_code(number)).map(|(_, class)| *class);
    match known.or_else(numbered) {
        // A key without the scope for this call is a key all the same.
        Some(Auth) if status == 403 && !blames_key(body) => None,
        class => class,
    }
}

fn by_status(status: u16, body: &ErrorText) -> Class {
    match status {
        400 if body.empty => ContextWindow,
        401 => Auth,
        402 => NoCredit,
        403 => Class::Forbidden,
        404 | 410 => ModelGone,
        408 => Class::Timeout,
        413 => ContextWindow,
        429 | 498 => RateLimited,
        503 | 529 => Overloaded,
        500.. => Class::ServerError,
        400..500 => Class::BadRequest,
        _ => Class::Garbled,
    }
}

/// Whether the text says that the key itself is bad, rather than that it may
/// not do this.
pub fn blames_key(body: &ErrorText) -> bool {
    let limited = [&["missing scopes"][..], &["insufficient permission"], &["insufficient_scope"]];
    if limited.iter().any(|words| body.says(words)) {
        return false;
    }
    let key_lines = TABLE.iter().filter(|line| matches!(line.class, Auth));
    key_lines.into_iter().any(|line| body.says(line.words)) || ["1004", "2049"].iter().any(|number| body.has_code(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_has_its_bit() {
        for (line, needs) in TABLE.iter().zip(&WORDS.lines) {
            let bits: u32 = needs.iter().map(|part| part.count_ones()).sum();
            assert_eq!(bits as usize, line.words.len(), "{:?}", line.words);
            let body = ErrorText::read(line.words.join(" and ").as_bytes());
            assert!(needs.iter().zip(&WORDS.said(&body)).all(|(needs, said)| needs & !said == 0), "{:?}", line.words);
        }
    }
    use Class::*;

    fn class(status: u16, body: &str) -> Class {
        classify(status, &ErrorText::read(body.as_bytes()))
    }

    /// Status, class, body: what providers are known to answer.
    const KNOWN: &[(u16, Class, &str)] = &[
        (
            401,
            Auth,
            r#"{"error":{"message":"Incorrect API key provided: sk-...","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        ),
        (401, Auth, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}"#),
        (
            400,
            Auth,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
        ),
        (
            400,
            Auth,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: gs***tF. You can obtain an API key from https://console.x.ai."}"#,
        ),
        (401, Auth, "Authentication Fails"),
        (401, Auth, r#"{"error":{"type":"invalid_authentication_error","message":"Invalid Authentication"}}"#),
        (
            401,
            Auth,
            r#"{"type":"error","error":{"type":"authorized_error","message":"login fail: Please carry the API secret key in the 'Authorization' field of the request header (1004)"}}"#,
        ),
        (403, Auth, r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#),
        (401, Auth, "<html><head><title>401 Authorization Required</title></head></html>"),
        (401, Auth, r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request."}}"#),
        (
            403,
            Forbidden,
            r#"{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}"#,
        ),
        (
            429,
            RateLimited,
            r#"{"error":{"message":"Rate limit reached for model x on tokens per minute (TPM): Limit 15000, Used 11972, Requested 4351. Please try again in 5.289s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
        ),
        (
            429,
            RateLimited,
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]},{"retryDelay":"38s"}]}}"#,
        ),
        (
            429,
            NoCredit,
            r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}"#,
        ),
        (
            429,
            RateLimited,
            r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","code":"3505"}"#,
        ),
        (
            413,
            ContextWindow,
            r#"{"error":{"message":"Request too large for model x on tokens per minute (TPM): Limit 6000, Requested 6294, please reduce your message size and try again."}}"#,
        ),
        (
            429,
            NoCredit,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        ),
        (
            400,
            NoCredit,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API"}}"#,
        ),
        (429, NoCredit, r#"{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}"#),
        (500, NoCredit, r#"{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"},"request_id":"x"}"#),
        (429, NoCredit, r#"{"error":{"code":"1113","message":"Insufficient balance or no resource package. Please recharge."}}"#),
        (402, NoCredit, ""),
        (403, NoCredit, r#"{"error":{"message":"insufficient balance"}}"#),
        (400, NoCredit, r#"{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}"#),
        (529, Overloaded, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        (429, Overloaded, r#"{"error":{"message":"The engine is currently overloaded, please try again later"}}"#),
        (503, Overloaded, ""),
        (400, Overloaded, r#"{"detail":"Function id 'x': DEGRADED function cannot be invoked"}"#),
        (498, RateLimited, r#"{"error":{"code":"capacity_exceeded"}}"#),
        (
            400,
            ContextWindow,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","code":"context_length_exceeded"}}"#,
        ),
        (400, ContextWindow, r#"{"error":{"message":"Your input exceeds the context window of this model"}}"#),
        (
            400,
            ContextWindow,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 213462 tokens > 200000 maximum"}}"#,
        ),
        (
            400,
            ContextWindow,
            r#"[{"error":{"code":400,"message":"The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)"}}]"#,
        ),
        (400, ContextWindow, r#"{"error":"This model's maximum prompt length is 131072 but the request contains 537812 tokens"}"#),
        (400, ContextWindow, r#"{"error":{"message":"Please reduce the length of the messages or completion"}}"#),
        (
            400,
            ContextWindow,
            r#"{"error":{"message":"This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens"}}"#,
        ),
        (400, ContextWindow, r#"{"message":"Prompt contains 9000 tokens, too large for model with 8192 maximum context length"}"#),
        (400, ContextWindow, r#"{"error":{"message":"Input token length too long"}}"#),
        (400, ContextWindow, r#"{"error":{"message":"Your request exceeded model token limit : 8192"}}"#),
        (400, ContextWindow, r#"{"error":{"message":"invalid params, context window exceeds limit"}}"#),
        (400, ContextWindow, r#"{"error":{"code":"1261","message":"Prompt exceeds max length"}}"#),
        (400, ContextWindow, r#"{"message":"Range of input length should be [1, 30720]"}"#),
        (
            403,
            ContextWindow,
            r#"{"error":{"message":"Input token count + max_tokens parameter must be less than the context length of the model being queried."}}"#,
        ),
        (400, ContextWindow, ""),
        (413, ContextWindow, ""),
        (
            400,
            ContextWindow,
            r#"{"error":{"code":400,"message":"request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":13392,"n_ctx":8192}}"#,
        ),
        (400, ContextWindow, r#"{"error":"the input length exceeds the context length"}"#),
        (400, ContextWindow, r#"{"error":{"message":"prompt token count of 9000 exceeds the limit of 8192"}}"#),
        (400, ContextWindow, r#"{"error":"the number of tokens to keep from the initial prompt is greater than the context length"}"#),
        (400, ContextWindow, r#"{"message":"Input is too long for requested model."}"#),
        (413, ContextWindow, r#"{"type":"error","error":{"type":"request_too_large"}}"#),
        (404, ModelGone, r#"{"error":{"code":"model_not_found"}}"#),
        (404, ModelGone, r#"{"error":"model 'x' not found"}"#),
        (404, ModelGone, r#"{"status":404,"title":"Not Found","detail":"Function 'x': Not found for account 'y'"}"#),
        (404, ModelGone, r#"{"error":{"message":"No endpoints found for x"}}"#),
        (410, ModelGone, ""),
        (
            400,
            ModelGone,
            r#"{"error":{"message":"The model `x` has been decommissioned and is no longer supported.","code":"model_decommissioned"}}"#,
        ),
        (
            400,
            ContentFilter,
            r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
        ),
        (
            400,
            ContentFilter,
            r#"{"error":{"type":"content_filter","message":"The request was rejected because it was considered high risk"}}"#,
        ),
        (400, ContentFilter, r#"{"code":"data_inspection_failed"}"#),
        (403, ContentFilter, r#"{"error":{"code":403,"message":"Your input was flagged by moderation","metadata":{"reasons":["x"]}}}"#),
        (400, BadRequest, r#"{"error":{"message":"Unrecognized request argument supplied: foo","type":"invalid_request_error"}}"#),
        (422, BadRequest, r#"{"detail":[{"type":"extra_forbidden","msg":"Extra inputs are not permitted"}]}"#),
        (405, BadRequest, ""),
        (415, BadRequest, ""),
        (408, Timeout, ""),
        (500, ServerError, r#"{"error":{"message":"The server had an error"}}"#),
        (502, ServerError, "<html>bad gateway</html>"),
        (504, ServerError, ""),
        (522, ServerError, ""),
        (599, ServerError, ""),
        (307, Garbled, ""),
        (101, Garbled, ""),
        (500, ServerError, r#"{"error":{"code":null,"message":7,"type":[]}}"#),
    ];

    #[test]
    fn every_known_answer_has_its_class() {
        for (status, wanted, body) in KNOWN {
            assert_eq!(class(*status, body), *wanted, "{status} {body}");
        }
    }

    #[test]
    fn an_error_inside_a_good_answer_is_never_the_callers_fault() {
        let embedded = |body: &str| classify_embedded(&ErrorText::read(body.as_bytes()));
        for (wanted, body) in [
            (NoCredit, r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#),
            (Overloaded, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
            (ServerError, r#"{"error":{"message":"Provider returned error","code":502}}"#),
            (RateLimited, r#"{"error":{"code":429,"message":"slow down"}}"#),
            (Garbled, r#"{"error":{"message":"Extra inputs","code":400}}"#),
            (Garbled, r#"{"error":"something"}"#),
            (NoCredit, r#"{"error":{"code":"insufficient_quota"}}"#),
            (ContextWindow, r#"{"error":{"code":400,"message":"request (1 tokens) exceeds the available context size (1 tokens)"}}"#),
        ] {
            assert_eq!(embedded(body), wanted, "{body}");
        }
    }

    #[test]
    fn a_key_with_too_few_rights_is_not_a_bad_key() {
        let scopes = ErrorText::read(
            br#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request."}}"#,
        );
        assert!(!blames_key(&scopes));
        assert!(blames_key(&ErrorText::read(br#"{"error":{"code":"invalid_api_key"}}"#)));
    }

    proptest::proptest! {
        #[test]
        fn d268_a_server_error_is_never_blamed_on_the_key(status in 500u16..600, body in "[a-z {}\":]{0,60}") {
            let class = class(status, &body);
            proptest::prop_assert!(class != Auth && class != BadRequest, "{class:?}");
        }
    }
}

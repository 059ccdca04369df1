//! How well the classifier does: on a labelled set, on the documented
//! examples, in each language, in conversations, and on no language at all.

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use routor::catalog::Tier;
use routor::routing::{Category, Classification, Talk, classify};

/// A prompt that somebody sorted by hand.
struct Labelled {
    prompt: String,
    tier: Tier,
    category: String,
    split: String,
}

fn labelled() -> Vec<Labelled> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/routing/prompts.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).filter(|line| !line.is_empty());
    rows.map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [prompt, tier, category, split] = columns[..] else { panic!("not four columns: {line}") };
        Labelled {
            prompt: prompt.replace("\\n", "\n"),
            tier: tier.parse().unwrap(),
            category: category.to_owned(),
            split: split.to_owned(),
        }
    })
    .collect()
}

fn alone(prompt: &str) -> Talk<'_> {
    Talk { last_user: prompt, last_user_bytes: prompt.len(), prompt_bytes: prompt.len(), ..Talk::default() }
}

fn tier(prompt: &str) -> Tier {
    classify(&alone(prompt)).tier
}

/// What came out for a part of the set.
#[derive(Default)]
struct Score {
    /// By the tier that is right, then by the one that came out.
    table: [[usize; Tier::COUNT]; Tier::COUNT],
    categories: usize,
    /// By step of confidence: how many, and how many of them right.
    confidence: [(usize, usize); 3],
}

impl Score {
    fn of(split: &str) -> Self {
        let mut score = Self::default();
        for row in labelled().iter().filter(|row| row.split == split) {
            let got = classify(&alone(&row.prompt));
            score.table[row.tier as usize][got.tier as usize] += 1;
            score.categories += usize::from(got.category.name() == row.category);
            let step = if got.confidence >= 0.75 {
                0
            } else if got.confidence >= 0.55 {
                1
            } else {
                2
            };
            score.confidence[step].0 += 1;
            score.confidence[step].1 += usize::from(got.tier == row.tier);
        }
        score
    }

    fn within(&self, steps: usize) -> f64 {
        let cells = || self.table.iter().enumerate().flat_map(|(want, row)| row.iter().enumerate().map(move |(got, n)| (want, got, n)));
        let near: usize = cells().filter(|(want, got, _)| want.abs_diff(*got) <= steps).map(|(_, _, n)| n).sum();
        near as f64 / self.all() as f64
    }

    fn all(&self) -> usize {
        self.table.iter().flatten().sum()
    }

    fn print(&self, split: &str) {
        println!(
            "{split}: {} prompts, exact {:.1} %, within one tier {:.1} %, category {:.1} %",
            self.all(),
            self.within(0) * 100.0,
            self.within(1) * 100.0,
            self.categories as f64 / self.all() as f64 * 100.0
        );
        println!("{:>10} {}", "", Tier::ALL.map(|tier| format!("{:>9}", tier.name())).join(""));
        for (tier, row) in Tier::ALL.iter().zip(self.table) {
            println!("{:>10} {}", tier.name(), row.map(|n| format!("{n:>9}")).join(""));
        }
        for (name, (all, right)) in ["clear", "reasonable", "borderline"].iter().zip(self.confidence) {
            println!("{name:>10} {right} of {all} right");
        }
    }
}

/// The floors lie a little below what was reached; `tests/routing/README.md`
/// says what was. `cargo test --test routing -- --nocapture` prints the tables.
#[test]
fn labelled_prompts_come_out_as_labelled() {
    for (split, exact, near, category) in [("tune", 0.97, 0.99, 0.72), ("measure", 0.88, 0.98, 0.70)] {
        let score = Score::of(split);
        score.print(split);
        assert!(score.all() >= 150, "{split}: {} prompts", score.all());
        assert!(score.within(0) >= exact, "{split}: {:.3} exact", score.within(0));
        assert!(score.within(1) >= near, "{split}: {:.3} within one tier", score.within(1));
        assert!(score.categories as f64 / score.all() as f64 >= category, "{split}: {} categories", score.categories);
    }
}

#[test]
fn clear_answers_are_right_more_often_than_borderline_ones() {
    let (tune, measure) = (Score::of("tune"), Score::of("measure"));
    let share = |step: usize| {
        let (all, right) = (tune.confidence[step].0 + measure.confidence[step].0, tune.confidence[step].1 + measure.confidence[step].1);
        right as f64 / all.max(1) as f64
    };
    assert!(share(0) > 0.9, "{}", share(0));
    assert!(share(0) > share(2), "{} {}", share(0), share(2));
}

#[test]
fn documented_examples_come_out_as_documented() {
    let examples = [
        (Tier::Nano, &["hi", "thanks", "ok", "sure"][..]),
        (
            Tier::Simple,
            &["What is the capital of France?", "How many days are in a leap year?", "Translate hello to Spanish", "What is 15% of 240?"],
        ),
        (
            Tier::Light,
            &[
                "Explain what a closure is in JavaScript",
                "Write a short bio for a product manager",
                "What is the difference between REST and GraphQL?",
                "Fix the typo in this sentence",
            ],
        ),
        (
            Tier::Standard,
            &[
                "Refactor this auth middleware to use JWT",
                "Analyze this CSV and identify trends",
                "Write a unit test suite for this function",
                "Compare these two system designs and recommend one",
            ],
        ),
        (Tier::Complex, &["Review this 5,000-word technical specification", "Design a microservice architecture for a fintech platform"]),
    ];
    for (want, prompts) in examples {
        for prompt in prompts {
            let got = classify(&alone(prompt));
            assert_eq!(got.tier, want, "{prompt}: {got:?}");
        }
    }
}

/// Greeting, fact, explanation, coding task, proof, design.
const LANGUAGES: [(&str, [&str; 6]); 8] = [
    (
        "English",
        [
            "good evening",
            "Who painted the Mona Lisa?",
            "Explain how a fridge works",
            "Refactor this class and add unit tests",
            "Prove that the square root of 2 is irrational",
            "Design a scalable microservice architecture for an online bank",
        ],
    ),
    (
        "German",
        [
            "Guten Morgen!",
            "Wie viele Bundesländer hat Deutschland?",
            "Erkläre mir die Photosynthese",
            "Refaktoriere diese Klasse und schreibe Unit-Tests",
            "Beweise, dass die Wurzel aus 2 irrational ist",
            "Entwirf eine skalierbare Microservice-Architektur für eine Bank",
        ],
    ),
    (
        "French",
        [
            "bonjour",
            "Qui a peint la Joconde ?",
            "Explique la différence entre une pile et une file",
            "Implémente une API REST avec authentification et tests unitaires",
            "Prouve que racine de 2 est irrationnel",
            "Conçois une architecture de microservices pour une banque",
        ],
    ),
    (
        "Spanish",
        [
            "¡hola!",
            "¿Cuántos planetas hay en el sistema solar?",
            "¿Cuál es la diferencia entre un virus y una bacteria?",
            "Refactoriza esta clase y añade pruebas unitarias",
            "Demuestra que la raíz de 2 es irracional",
            "Diseña una arquitectura de microservicios para un banco",
        ],
    ),
    (
        "Portuguese",
        [
            "bom dia",
            "Quantos estados tem o Brasil?",
            "Como funciona a fotossíntese?",
            "Refatore esta classe e adicione testes unitários",
            "Prove que a raiz quadrada de 2 é irracional",
            "Projete uma arquitetura de microsserviços para um banco",
        ],
    ),
    (
        "Chinese",
        [
            "你好",
            "中国的首都是哪里",
            "解释一下什么是区块链",
            "重构这个类，并写单元测试",
            "证明根号2是无理数",
            "为网上银行设计可扩展的微服务架构",
        ],
    ),
    (
        "Japanese",
        [
            "おはようございます",
            "日本の首都はどこですか",
            "HTTPとHTTPSの違いを教えて",
            "このクラスをリファクタリングしてユニットテストを追加してください",
            "√2が無理数であることを証明してください",
            "銀行のためのマイクロサービスアーキテクチャを設計してください",
        ],
    ),
    (
        "Hindi",
        [
            "नमस्ते",
            "भारत की राजधानी क्या है?",
            "आसमान नीला क्यों होता है?",
            "इस कोड को रीफैक्टर करो और यूनिट टेस्ट लिखो",
            "सिद्ध करें कि √2 अपरिमेय है",
            "बैंक के लिए माइक्रोसर्विस आर्किटेक्चर डिज़ाइन करो",
        ],
    ),
];

#[test]
fn every_language_has_sensible_tiers() {
    for (language, prompts) in LANGUAGES {
        let tiers = prompts.map(tier);
        let [greeting, fact, explanation, coding, proof, design] = tiers;
        assert_eq!(greeting, Tier::Nano, "{language} greeting");
        assert_eq!(fact, Tier::Simple, "{language} fact");
        assert_eq!(explanation, Tier::Light, "{language} explanation");
        assert_eq!(coding, Tier::Standard, "{language} coding");
        assert_eq!(proof, Tier::Complex, "{language} proof");
        assert_eq!(design, Tier::Complex, "{language} design");
    }
}

#[test]
fn without_anything_to_go_by_it_is_light_and_not_sure() {
    let got = classify(&alone("purple monkeys dishwasher wander behind seventeen wooden bicycles quietly"));
    assert_eq!((got.tier, got.score), (Tier::Light, 0.0));
    assert!(got.confidence < 0.55, "{got:?}");
    assert_eq!(classify(&alone("")).tier, Tier::Nano);
}

#[test]
fn code_steps_and_long_context_push_up() {
    let score = |talk: &Talk<'_>| classify(talk).score;
    let plain = "look at this and tell the others what there is";
    assert!(score(&alone(&format!("{plain}\n```rust\nfn main() {{\n    run();\n}}\n```"))) > score(&alone(plain)));
    assert!(score(&alone(&format!("{plain}\n1. one\n2. two\n3. three"))) > score(&alone(plain)));
    assert!(score(&alone(&format!("first {plain}, then rest, finally leave"))) > score(&alone(plain)));
    let long = Talk { prompt_bytes: 200 * 1024, ..alone(plain) };
    assert!(classify(&long).tier > tier(plain));
}

const TASK: &str = "Refactor this auth middleware to use JWT and add unit tests";

fn following(message: &'static str, history: &[&str]) -> Classification {
    classify(&Talk { history, ..alone(message) })
}

#[test]
fn assent_in_a_coding_session_keeps_the_tier_of_the_task() {
    let plan = "I would change `verify()` first. Shall I go on?";
    for assent in ["yes, do it", "ok", "ja, mach weiter", "oui, vas-y", "sí, adelante", "好的", "はい、お願いします", "हाँ"]
    {
        let got = following(assent, &[plan, TASK]);
        assert_eq!(got.tier, Tier::Standard, "{assent}: {got:?}");
        assert_eq!(got.history_floor, Some(Tier::Standard), "{assent}");
    }
}

#[test]
fn thanks_in_a_coding_session_falls_but_not_to_nano() {
    let got = following("thanks!", &[TASK]);
    assert_eq!((got.tier, got.history_floor), (Tier::Light, Some(Tier::Light)));
    let code = "```js\nconst a = () => {\n  go();\n};\n```";
    assert_eq!(following("thanks!", &[code]).tier, Tier::Light);
}

#[test]
fn small_talk_sets_no_floor() {
    let got = following("ok", &["I am fine, and you?", "how are you?", "hi"]);
    assert_eq!((got.tier, got.history_floor), (Tier::Nano, None));
}

#[test]
fn signals_name_their_words_and_add_up() {
    let got = classify(&alone("Prove the theorem by induction"));
    let reasoning = got.signals.first().unwrap();
    assert_eq!(reasoning.dimension, "reasoning");
    assert!(reasoning.matched.contains(&"prove"), "{got:?}");
    let sum: f64 = got.signals.iter().map(|signal| signal.contribution).sum();
    assert!((sum - got.score).abs() < 0.001, "{got:?}");
}

#[test]
fn every_category_has_a_name_of_its_own() {
    let names: HashMap<&str, Category> = Category::ALL.iter().map(|category| (category.name(), *category)).collect();
    assert_eq!(names.len(), 17);
    let image = Talk { images: true, ..alone("what is this?") };
    assert_eq!(classify(&image).category, Category::Vision);
}

#[test]
fn a_text_that_is_only_to_be_summarised_does_not_raise_the_tier() {
    let article = "The distributed consensus protocol was proven correct by induction. ".repeat(40);
    assert_eq!(tier(&format!("Summarise this in two sentences: {article}")), Tier::Light);
    assert_eq!(tier(&format!("{article}\n\nSummarise the text above, please.")), Tier::Light);
}

fn check(got: &Classification) {
    assert!((0.0..=1.0).contains(&got.confidence), "{got:?}");
    assert!(got.score.is_finite(), "{got:?}");
    assert!(got.signals.iter().all(|signal| signal.matched.len() <= 3));
}

#[test]
fn odd_texts_are_classified_like_any_other() {
    let word = "prove ".repeat(10 * 1024 * 1024 / 6);
    let letter = "a".repeat(10 * 1024 * 1024);
    let odd = [
        "",
        " ",
        "\n\n\n",
        "?",
        "\0\u{1}\u{7f}",
        "👍",
        "👩‍👩‍👧‍👦",
        "\u{301}\u{301}",
        "\u{202e}abc",
        "ﷺ",
        "hi你好नमस्तеمرحبا",
        "İ",
        "1)",
        "-",
        "```",
    ];
    for text in odd.into_iter().chain([word.as_str(), letter.as_str()]) {
        let history = [text; 8];
        check(&classify(&Talk { system: text, history: &history, tools: usize::MAX, prompt_bytes: usize::MAX, ..alone(text) }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,300}", system in ".{0,100}", bytes in any::<usize>(), images in any::<bool>()) {
        let history = [system.as_str(), text.as_str()];
        let talk = Talk { last_user: &text, last_user_bytes: bytes, system: &system, history: &history, prompt_bytes: bytes, tools: 1, images };
        let got = classify(&talk);
        check(&got);
        prop_assert_eq!(got, classify(&talk));
    }

    #[test]
    fn mixed_scripts_and_marks_do_not_either(text in "[a-zÀ-ſ一-十あ-んक-ह✀-➿\\x00-\\x1f0-9%,.:;?()`{}\"'*^-]{0,200}") {
        check(&classify(&alone(&text)));
    }
}

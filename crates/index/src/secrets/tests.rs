//! Each kind found and not found: published test numbers, random keys that no issuer made, and what only looks alike.

use proptest::prelude::*;

use super::*;

/// The kinds and texts of what is found.
fn found(text: &str) -> Vec<(SecretKind, &str)> {
    secrets(text.as_bytes()).into_iter().map(|secret| (secret.kind, &text[secret.range])).collect()
}

/// Each of these stands alone, in a sentence, in parentheses and at both ends of a text.
#[track_caller]
fn finds(kind: SecretKind, values: &[&str]) {
    for value in values {
        let around =
            [("", ""), ("It is ", ". It was."), ("(", ")"), ("<td>", "</td>"), ("x: ", ", y"), ("\"", "\"")];
        for (left, right) in around {
            let text = format!("{left}{value}{right}");
            assert_eq!(found(&text), [(kind, *value)], "{text}");
        }
    }
}

#[track_caller]
fn finds_nothing(texts: &[&str]) {
    for text in texts {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn names_are_those_of_files() {
    let names = SecretKind::ALL.map(|kind| format!("\"{}\"", kind.name()));
    assert_eq!(names, SecretKind::ALL.map(|kind| serde_json::to_string(&kind).unwrap()));
    assert!(SecretKind::ALL.is_sorted());
}

#[test]
fn cards_have_an_issuer_a_length_and_a_check_digit() {
    // The numbers that payment processors publish for tests.
    let published = [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "3056 930902 5904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "6759649826438453",
    ];
    finds(SecretKind::PaymentCard, &published);
    // The security code after it is none of the card's.
    assert_eq!(found("4111 1111 1111 1111 123"), [(SecretKind::PaymentCard, "4111 1111 1111 1111")]);
    finds_nothing(&[
        "4111111111111112",
        "4111 1111 1111 1112",
        "the check digit holds, the issuer is nobody: 1111111111111117 and 9111111111111116",
        "0000000000000000 and 4444444444444444444",
        "a longer number 41111111111111110000000",
        "an amount $4111111111111111 or 0.4111111111111111 or 4111111111111111.25",
        "a name a4111111111111111 or 4111111111111111b or x_4111111111111111",
        "a table 1234 4111 1111 1111 1111 and 4111 1111 1111 1111 1234",
        // A German article's number, whose last digit is a card's check digit as well, and bare ids of 19 digits.
        "4000000000006, 4289851098633925465",
        "mixed 4111 1111-1111 1111 and 4111.1111.1111.1111 and 411 11111 1111 1111",
        "a time 1693526400000, a path /status/4111111111111111, 8d9f-4111-1111-1111-1111",
    ]);
}

#[test]
fn the_check_digit_is_that_of_a_naive_sum() {
    // ISO/IEC 7812-1 by hand, on text: doubled digits, and the digits of those added up.
    let naive = |number: &str| {
        let doubled: String = number
            .bytes()
            .rev()
            .enumerate()
            .map(|(i, digit)| (u32::from(digit - b'0') * (1 + i as u32 % 2)).to_string())
            .collect();
        doubled.bytes().map(|digit| u32::from(digit - b'0')).sum::<u32>() % 10 == 0
    };
    let n_found = (0..4000_u64)
        .map(|i| format!("{}", 4_000_000_000_000_000 + i * 7_919_123_457 % 1_000_000_000_000_000))
        .filter(|number| {
            let is_found = !found(number).is_empty();
            assert_eq!(is_found, naive(number), "{number}");
            is_found
        })
        .count();
    assert!((300..500).contains(&n_found), "one in ten: {n_found}");
}

#[test]
fn account_numbers_have_their_countrys_form_and_check_digits() {
    // Examples of the registry of ISO 13616.
    let published = [
        "GB29 NWBK 6016 1331 9268 19",
        "GB29NWBK60161331926819",
        "DE89 3704 0044 0532 0130 00",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "CH93 0076 2011 6238 5295 7",
        "MT84MALT011000012345MTLCAST001S",
        "NL91ABNA0417164300",
        "SA03 8000 0000 6080 1016 7519",
    ];
    finds(SecretKind::Iban, &published);
    assert_eq!(found("DE89 3704 0044 0532 0130 00 is it")[0].1, "DE89 3704 0044 0532 0130 00");
    finds_nothing(&[
        "GB29 NWBK 6016 1331 9268 18",
        "DE88370400440532013000",
        "DE8937040044053201300",
        "XDE89370400440532013000",
        "DE893704004405320130001",
        // Valid check digits of a country that is none, and the planted account numbers of the demo.
        "ZZ00 1234 5678 9012",
        "AB12 CD34 EF56",
    ]);
}

#[test]
fn social_security_numbers_are_in_the_ranges_that_are_issued() {
    finds(SecretKind::UsSsn, &["536-90-4399", "001-01-0001", "899-99-9999", "667-12-3456"]);
    finds_nothing(&[
        "000-12-3456, 666-12-3456, 900-12-3456, 999-12-3456",
        "536-00-4399, 536-90-0000",
        "078-05-1120 and 219-09-9999 were printed on samples",
        "536904399 and 536 90 4399 may be anything",
        "1-536-90-4399, 536-90-4399-1, 2536-90-4399, 536-90-43991",
        "2001-10-2003, 12-10-2003",
    ]);
}

#[test]
fn telephone_numbers_are_international_or_of_a_known_form() {
    let international = [
        "+1 415 555 0199",
        "+1 (415) 555-0199",
        "+14155550199",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "+49 30 901820",
        "+49-30-901820",
        "+33 1 23 45 67 89",
        "+39 06 69812345",
        "+372 5551234",
        "+86 10 6552 9988",
    ];
    finds(SecretKind::PhoneNumber, &international);
    let national = [
        "(415) 555-0199",
        "415-555-0199",
        "415.555.0199",
        "1-415-555-0199",
        "01 23 45 67 98",
        "01.23.45.67.98",
        "020 7946 0958",
        "(020) 7946 0958",
        "07700 900123",
        "07700 900 123",
        "0121 496 0123",
    ];
    finds(SecretKind::PhoneNumber, &national);
    finds_nothing(&[
        "C++11 and +12345678 and a+4930901820 and +1 115 555 0199",
        "+000 123 4567 and +49 000 and +999 123 456",
        "115-555-0199, 415-155-0199, 911-555-0199, 415-911-0199",
        "415 555 0199 may be three numbers",
        "01 02 03 04 05 and 01 23 45 67 98 12",
        "2024-01-02 and 2024-01-02 10:20:30 and 02.01.2024",
        "978-415-555-0199 and 415-555-0199-1 and v415.555.0199.1",
        "ISBN 978-3-16-148410-0, 1.2.3, 10.15.7, 100-200-3000",
    ]);
}

#[test]
fn addresses_of_mail_have_a_local_part_and_a_domain() {
    let addresses = [
        "jane.roe@example.org",
        "JANE+lists@mail.example.co.uk",
        "o'hara@example.com",
        "x@a-b.museum",
        "1234567890@example.de",
    ];
    finds(SecretKind::EmailAddress, &addresses);
    assert_eq!(found("Write to mailto:jane@example.org.")[0].1, "jane@example.org");
    assert_eq!(found("'jane@example.org'")[0].1, "jane@example.org");
    finds_nothing(&[
        "icon@2x.png, react@18.2.0, @jane, jane@localhost, jane@",
        "@jane@social.example, git@code.example.org:a/b.git",
        "https://jane:code@host.example.org/ and ftp://jane@host.example.org",
        "a..b@example.org, a.@example.org, a@-b.org, a@b-.org, a@.org, a@b..org",
        "a@example.org@example.net",
    ]);
    let long = format!("{}@example.org", "a".repeat(65));
    finds_nothing(&[&long]);
}

#[test]
fn addresses_of_machines_are_public() {
    finds(
        SecretKind::IpAddress,
        &["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001:81b::200e"],
    );
    finds_nothing(&[
        "10.20.30.40, 127.0.0.1, 192.168.17.12, 172.16.20.30, 169.254.10.20, 239.20.30.40, 203.0.113.77, 198.19.255.255",
        "1.2.3.4, 4.18.0.305, 93.184.216.34.5, v93.184.216.34, 93.184.216.256, 93.184.216.34-rc1",
        "fe80::1:2:3, 2001:db8::1:2, 2001:4:112::1, ::1, 12:30:45, std::vec, a::b, 2001::1, 00:1b:44:11:3a:b7",
    ]);
}

/// A key in two parts, so that no scanner of source code takes the test for a leak.
fn key(parts: [&str; 2]) -> String {
    parts.concat()
}

#[test]
fn keys_have_their_issuers_prefix_length_and_alphabet() {
    let keys = [
        (SecretKind::AwsAccessKey, ["AKIA", "UJZDEGXDNCF32EPF"]),
        (SecretKind::AwsAccessKey, ["ASIA", "UJZDEGXDNCF32EPF"]),
        (SecretKind::GithubToken, ["ghp_", "jbD0kH8Oool8DklZDOCj2ISaJiHkTj0rLGlk"]),
        (
            SecretKind::GithubToken,
            [
                "github_pat_",
                "oMXGjtEkDnNfribxUdl7dX_TPyLsxPFkThf4VucSmEHgaKwVJ7faC9qEwjky40UVsWmflzdE1F8ResqEDu",
            ],
        ),
        (SecretKind::SlackToken, ["xoxb-", "497465075291-703423667127-ZjR4I0b3jRtaWr4Y9OJFLJOq"]),
        (SecretKind::GoogleApiKey, ["AIza", "dB-XhkAS1voQG6yyzyN9zHYIa4UOrGNATMu"]),
        (SecretKind::StripeKey, ["sk_live_", "nBE3NnYJoQ9WmXeHH2fdeeTF"]),
        (SecretKind::SkKey, ["sk-", "JGvVvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOiixgVoOnzy"]),
        (
            SecretKind::SkKey,
            ["sk-proj-", "w2MzP0ZvzOMhfWuBByReQMsm9Wcz7uW9XFOGOeMV_Nen5n1Ae6pWzpF1qH6YytwMe4LbyoV"],
        ),
    ];
    for (kind, parts) in keys {
        finds(kind, &[&key(parts)]);
        // One character less, a letter before, or one that no key has among them.
        let mut body = parts[1].to_owned();
        finds_nothing(&[&format!("x{}", key(parts)), &format!("{}{}", parts[0], "a".repeat(body.len()))]);
        body.insert(10, '.');
        finds_nothing(&[&key([parts[0], &body])]);
        if !matches!(kind, SecretKind::SkKey | SecretKind::SlackToken | SecretKind::StripeKey) {
            finds_nothing(&[&key([parts[0], &parts[1][1..]])]);
        }
    }
    finds_nothing(&[
        &key(["AKIA", "IOSFODNN7EXAMPLE"]),
        "sk-loading-circle-animation-delay-of-all-1-and-2",
        "task-JGvVvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOiixgVoOnzy",
    ]);
}

#[test]
fn web_tokens_name_an_algorithm() {
    let payload =
        "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ik5vYm9keSJ9.ngb8gc43BvHeXmY_e_H_slsR8YUUoWTgXAFA4C2_MvE";
    // {"alg":"HS256","typ":"JWT"}, {"typ":"JWT"} and what is no JSON.
    let header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
    finds(SecretKind::JsonWebToken, &[&format!("{header}.{payload}")]);
    finds_nothing(&[
        &format!("eyJ0eXAiOiJKV1QifQ.{payload}"),
        &format!("eyJhbGciOiJIUzI1NiIs.{payload}"),
        &format!("{header}.{}", &payload[..60]),
    ]);
}

#[test]
fn private_keys_have_a_body() {
    let body = "OSMu+Qbua4HA1iubvwMdg6MWDDOt0VaxtKH1RgPvzHOPhRaC6GSFiBVJr86DlmB6";
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"] {
        let armour = |end: &str| format!("-----BEGIN {label}-----{end}{body}{end}-----END {label}-----");
        finds(SecretKind::PrivateKey, &[&armour("\n"), &armour("\r\n"), &armour("\\n")]);
        // Cut off, as samples are.
        let cut = format!("-----BEGIN {label}-----\n{body}");
        assert_eq!(found(&cut), [(SecretKind::PrivateKey, &cut[..])]);
        let encrypted =
            format!("-----BEGIN {label}-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\n{body}\n");
        assert_eq!(found(&encrypted).len(), 1);
        finds_nothing(&[
            &format!(
                "if line == \"-----BEGIN {label}-----\" {{ return Err(\"this is a key, not a certificate\") }}"
            ),
            &format!("-----BEGIN {label}-----\n...\n-----END {label}-----"),
        ]);
    }
    finds_nothing(&[&format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")]);
}

#[test]
fn a_random_token_needs_a_name_before_it() {
    let (hex, long, short) =
        ("2cec255404e4fb440034d6608697a8d41bed440e", "xLmAxzJLJenu4jDUrhhjeyxG", "4jDPMRCxGgcjBw56EcUn");
    for name in
        ["password", "SECRET_KEY", "apiKey", "api_key", "auth-token", "DB_PASSWD", "client_secret", "tokens"]
    {
        for (sign, end) in
            [("=", ""), (": \"", "\","), (" = '", "';"), ("\": \"", "\"}"), (" := `", "`"), ("=>'", "'")]
        {
            for value in [hex, long, short] {
                let text = format!("{name}{sign}{value}{end}");
                assert_eq!(found(&text), [(SecretKind::NamedToken, value)], "{text}");
            }
        }
    }
    assert_eq!(found(&format!("Authorization: Bearer {long}")), [(SecretKind::NamedToken, long)]);
    finds_nothing(&[
        &format!("sha1: {hex}"),
        &format!("commit {hex} and the token {long}"),
        &format!("tokenizer = {long}, secretary: {long}"),
        &format!("token = {long}(1), token = {long}.x, password = {long}[0]"),
        "password: correct-horse-battery-staple-1, token = get_token_from_request_v2",
        "token: 123e4567-e89b-12d3-a456-426614174000",
        "password=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1, secret=12345678901234567890",
        "private_key: X509CertificateTemplatePrivateKeyFlag2, private_key: X509Template7PrivateKey9Flag = 3",
        "secret_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "token_count: 12345678901234567890123456789012",
    ]);
}

/// Python 3.11: `sum(-c/n*math.log2(c/n) for c in Counter(s).values())`.
#[test]
fn entropy_is_shannons() {
    assert_eq!(entropy_bits(b""), 0.0);
    assert_eq!(entropy_bits(b"aaaa"), 0.0);
    assert_eq!(entropy_bits(b"abcd"), 2.0);
    assert!((entropy_bits(b"hello world") - 2.845_350_936_622_436_8).abs() < 1e-12);
}

#[test]
fn what_is_no_secret_is_left_alone() {
    finds_nothing(&[
        "",
        "123e4567-e89b-12d3-a456-426614174000",
        "d41d8cd98f00b204e9800998ecf8427e e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "Released 2024-01-02T10:20:30Z as v1.2.3-4+build.5678 (rev 12345678)",
        "Fig. 3.14159265358979, 6.02214076e23, 1,234,567,890, 0x4111111111111111",
        "ISBN 978-0-306-40615-7, DOI 10.1000/182, ISSN 2049-3630, EAN 4006381333931",
        "1234 5678 9012 3456 and 1990 1991 1992 1993",
        "https://example.org/a/4111111111111111?b=1 and doi:10.1038/s41586-020-2649-2",
    ]);
}

#[test]
fn equal_values_are_equal_when_normalized() {
    let equal = |kind: SecretKind, a: &str, b: &str| {
        assert_eq!(kind.normalized(a.as_bytes()), kind.normalized(b.as_bytes()));
    };
    equal(SecretKind::PaymentCard, "4111 1111 1111 1111", "4111-1111-1111-1111");
    equal(SecretKind::PhoneNumber, "+1 (415) 555-0199", "+14155550199");
    equal(SecretKind::Iban, "NL91 ABNA 0417 1643 00", "NL91ABNA0417164300");
    equal(SecretKind::EmailAddress, "Jane@Example.org", "jane@example.org");
    assert_eq!(SecretKind::NamedToken.normalized(b"aB-1"), "aB-1");
}

#[test]
fn the_strongest_kind_wins_where_two_overlap() {
    let token = key(["ghp_", "jbD0kH8Oool8DklZDOCj2ISaJiHkTj0rLGlk"]);
    assert_eq!(found(&format!("token={token}")), [(SecretKind::GithubToken, &token[..])]);
    let of = |kind, range: Range<usize>| Secret { kind, range };
    let (card, email, token) = (SecretKind::PaymentCard, SecretKind::EmailAddress, SecretKind::NamedToken);
    let all = vec![of(token, 0..9), of(email, 4..8), of(card, 7..12), of(email, 12..14), of(token, 14..15)];
    assert_eq!(apart(all), [of(card, 7..12), of(email, 12..14), of(token, 14..15)]);
    assert_eq!(apart(vec![of(card, 0..4), of(card, 0..9), of(card, 5..6)]), [of(card, 0..9)]);
}

/// A megabyte of what each rule begins with: were a byte looked at as often as there are bytes, no test would end.
#[test]
fn the_time_is_linear_in_hostile_texts() {
    let beginnings = [
        "1",
        "1 ",
        "0-",
        "4111 ",
        "+",
        "+1",
        "+1 ",
        "(1) ",
        "@",
        "a@",
        "a@a.",
        "@a.a",
        "AK12",
        "GB29 ",
        "eyJ",
        "eyJ.",
        "sk-",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-",
        "token",
        "token=",
        "token=\"",
        "a:",
        "1.",
        "://a@",
        "\u{0}",
        "ÿ",
    ];
    for beginning in beginnings {
        let text = beginning.repeat((1 << 20) / beginning.len());
        let n_found = secrets(text.as_bytes()).len();
        assert!(n_found < 1 << 18, "{beginning:?}");
    }
}

proptest! {
    #[test]
    fn secrets_of_any_bytes_stand_in_order_and_apart(
        text in prop::collection::vec(prop::sample::select(b"0123456789 -.+()/@:=_aAeGBDE4\xff\n".to_vec()), 0..400),
        more in prop::collection::vec(any::<u8>(), 0..100),
        card in any::<prop::sample::Index>(),
    ) {
        let mut text = [text, more].concat();
        let at = card.index(text.len() + 1);
        text.splice(at..at, *b"\n4111 1111 1111 1111, token=xLmAxzJLJenu4jDUrhhjeyxG;\n");
        let found = secrets(&text);
        prop_assert!(!found.is_empty());
        prop_assert!(found.windows(2).all(|two| two[0].range.end <= two[1].range.start));
        prop_assert!(found.iter().all(|secret| secret.range.start < secret.range.end && secret.range.end <= text.len()));
    }
}

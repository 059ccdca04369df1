//! Which addresses a provider may have. A key goes only where the user can
//! have meant it to go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// A provider's base address, checked: http or https, no user part, no query,
/// without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    url: Url,
}

impl Endpoint {
    /// Checks a base address. The error says what is wrong, for a reader.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|problem| format!("is not a web address: {problem}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("starts with {}:, only http: and https: are possible", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user name or password; keys belong in a variable named by api_key_env".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("holds a query or fragment; give the address up to the part before /chat/completions".to_owned());
        }
        let Some(host) = url.host() else { return Err("has no host".to_owned()) };
        check_host(&host, text)?;
        if url.scheme() == "http" && !is_private_host(&host) {
            return Err("is plain http to a public host, where anyone on the way could read the key; use https".to_owned());
        }
        Ok(Self { text: url.as_str().trim_end_matches('/').to_owned(), url })
    }

    /// The address, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => is_localhost(name),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }

    /// The port, given or usual.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }
}

fn check_host(host: &Host<&str>, text: &str) -> Result<(), String> {
    match host {
        Host::Domain(name) if name.ends_with('.') => Err("ends its host name with a dot; leave it out".to_owned()),
        Host::Domain(_) => Ok(()),
        Host::Ipv4(ip) if !text.contains(&ip.to_string()) => Err(format!("writes the address {ip} in an unusual way; write it as {ip}")),
        Host::Ipv4(ip) => check_ip(IpAddr::V4(*ip)),
        Host::Ipv6(ip) if ip.to_ipv4_mapped().is_some() => Err("is an IPv4 address written as IPv6; write it as IPv4".to_owned()),
        Host::Ipv6(ip) => check_ip(IpAddr::V6(*ip)),
    }
}

fn check_ip(ip: IpAddr) -> Result<(), String> {
    let metadata_v6 = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip == metadata_v6,
    };
    if link_local {
        return Err("is a link-local or cloud metadata address, which no provider has".to_owned());
    }
    if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(format!("has the host {ip}, which is no server's address; 127.0.0.1 is this machine"));
    }
    Ok(())
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a host can only be on this machine or a private network: private
/// addresses, `localhost`, names without a dot, and the names that are set
/// aside for private use.
pub fn is_private_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            !name.contains('.') || is_localhost(name) || [".local", ".internal", ".home.arpa", ".lan"].iter().any(|end| name.ends_with(end))
        }
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_private() || is_shared(*ip),
        Host::Ipv6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

/// 100.64.0.0/10, used by carrier and overlay networks (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && (64..128).contains(&second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses() {
        for (text, loopback) in [
            ("https://api.openai.com/v1", false),
            ("http://127.0.0.1:8000/v1/", true),
            ("http://localhost:11434/v1", true),
            ("http://[::1]:8000/v1", true),
            ("http://192.168.1.20:8000/v1", false),
            ("http://10.0.0.7/v1", false),
            ("http://vllm:8000/v1", false),
            ("http://host.docker.internal:8000/v1", false),
            ("http://100.100.1.2:8000", false),
        ] {
            let endpoint = Endpoint::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}"));
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
            assert!(!endpoint.as_str().ends_with('/'), "{text}");
        }
    }

    #[test]
    fn bad_addresses() {
        for (text, says) in [
            ("api.openai.com/v1", "web address"),
            ("file:///etc/passwd", "file:"),
            ("gopher://x/", "gopher:"),
            ("https://user:pw@api.openai.com/v1", "user name"),
            ("https://api.openai.com/v1?key=x", "query"),
            ("http://api.openai.com/v1", "plain http"),
            ("https://api.openai.com./v1", "dot"),
            ("http://2130706433/v1", "unusual"),
            ("http://0x7f.1/v1", "unusual"),
            ("http://169.254.169.254/v1", "metadata"),
            ("http://[::ffff:169.254.169.254]/v1", "IPv4"),
            ("http://0.0.0.0:8000/v1", "127.0.0.1"),
        ] {
            let problem = Endpoint::parse(text).expect_err(text);
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}

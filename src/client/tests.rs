//! Units of the client that need no server.

use super::*;

#[test]
fn only_plain_addresses_of_servers_are_taken() {
    for bad in [
        "",
        "server",
        "ftp://a",
        "http://",
        "https://user:secret@a",
        "http://a?token=b",
    ] {
        assert!(matches!(server_url(bad), Err(ClientError::NoUrl(_))), "{bad}");
    }
    assert_eq!(server_url("http://a:80/x").unwrap().as_str(), "http://a/x/");
}

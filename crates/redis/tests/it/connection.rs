//! What a connection does when its server is not there.

use mcp_authflow_redis::{RedisConfig, RedisConnection};

#[tokio::test]
async fn a_url_of_something_else_is_refused_without_being_repeated() {
    for url in [
        "",
        "http://127.0.0.1/",
        "redis://user:hunter2@127.0.0.1:port/",
        "rediss://127.0.0.1/",
    ] {
        let error = RedisConnection::connect(RedisConfig::new(url)).await.unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let shown = format!("{:?}", RedisConfig::new("redis://user:hunter2@127.0.0.1/"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_found_later() {
    let mut server = crate::server::Server::start();
    server.kill();
    let connection = server.connect().await;
    assert!(!connection.is_up());
    server.start_again();
    let took = crate::server::until_up(&connection).await;
    assert!(took.as_secs() < 5, "{took:?}");
}

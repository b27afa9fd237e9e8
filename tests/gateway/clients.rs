//! A client library of the API talks to the gateway and the built-in upstream.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;

use crate::kit::{ALICE, Gateway, TRIAL};

fn client(gateway: &Gateway, key: &str) -> Client<OpenAIConfig> {
    let address = format!("http://{}/v1", gateway.running.address);
    Client::with_config(OpenAIConfig::new().with_api_base(address).with_api_key(key))
}


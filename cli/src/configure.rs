//! `carillon config print|validate`, and how every process gets its configuration.

use serde_json::{Value, json};

use crate::args::{ConfigAction, ConfigArgs, ConfigFormat, ConfigSource};
use crate::config::{Config, ConfigError, Key, Layers, Role};
use crate::failure::{Failure, Outcome};
use crate::output::{self, put, say};

/// Shows or checks the configuration.
pub(crate) fn run(args: ConfigArgs) -> Outcome {
    match args.action {
        ConfigAction::Print { source, output } => print(&source.layers(), output),
        ConfigAction::Validate { source, role } => {
            let layers = source.layers();
            let config = Config::read(&layers).map_err(refusal)?;
            if let Some(role) = role {
                config.check_role(role, &layers).map_err(refusal)?;
            }
            say("the configuration is valid");
            Ok(())
        }
    }
}

/// The configuration of a process of this role.
pub(crate) fn config_for(role: Role, layers: &Layers) -> Outcome<Config> {
    let config = Config::read(layers).map_err(refusal)?;
    config.check_role(role, layers).map_err(refusal)?;
    Ok(config)
}

/// The configuration that the layers make.
pub(crate) fn read(layers: &Layers) -> Outcome<Config> {
    Config::read(layers).map_err(refusal)
}

impl ConfigSource {
    /// Defaults, file, environment and the flags that all processes share.
    pub(crate) fn layers(&self) -> Layers {
        let mut layers = Layers::new();
        if let Some(path) = &self.config {
            layers = layers.with_file(path);
        }
        layers
            .with_environment(
                std::env::vars_os()
                    .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?))),
            )
            .with_flag("--store", "store.url", self.store.clone())
            .with_flag("--zookeeper", "zookeeper.connect", self.zookeeper.clone())
            .with_assignments(&self.set)
    }
}

fn print(layers: &Layers, format: ConfigFormat) -> Outcome {
    let entries = layers.entries().map(|(key, text, origin)| (key, key.masked(text), origin.to_string()));
    match format {
        ConfigFormat::Table => output::show_rows(
            &["KEY", "VALUE", "FROM"],
            entries.map(|(key, text, origin)| vec![key.name.to_owned(), text, origin]),
        )?,
        ConfigFormat::Json => output::show_json(&Value::from_iter(entries.map(|(key, text, origin)| {
            json!({"key": key.name, "value": text, "from": origin, "variable": key.variable(), "help": key.help.trim()})
        })))?,
        ConfigFormat::Toml => put(&toml_text(entries))?,
    }
    // What is wrong is told after what there is, so that both can be seen.
    Config::read(layers).map(|_| ()).map_err(refusal)
}

fn toml_text(entries: impl Iterator<Item = (&'static Key, String, String)>) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut section = "";
    for (key, text, origin) in entries {
        let (concern, field) = key.name.split_once('.').unwrap_or(("", key.name));
        if concern != section {
            if !section.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("[{concern}]"));
            section = concern;
        }
        lines.push(format!("# {} ({})", key.help.trim(), key.variable()));
        let set = if origin == "default" { "# " } else { "" };
        lines.push(format!("{set}{field} = {}", toml::Value::String(text)));
    }
    lines.join("\n")
}

fn refusal(errors: Vec<ConfigError>) -> Failure {
    let count = match errors.len() {
        1 => "1 setting is not as it should be".to_owned(),
        many => format!("{many} settings are not as they should be"),
    };
    let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
    Failure::Usage(format!("{count}{}", lines.concat()))
}

//! `vpclab graph`: a lab as a picture.
//!
//! `scene` says what is shown, from the model; `layout` and `wires` where it goes;
//! `svg`, `mermaid` and `dot` write it.

mod dot;
mod layout;
mod mermaid;
mod scene;
mod svg;
mod wires;

use serde::{Deserialize, Serialize};

pub use layout::{Layout, Rect};
pub use scene::{Edge, EdgeKind, INTERNET, Node, NodeKind, Scene, SubnetBox, VpcBox, ZoneColumn};
pub use wires::Wire;

use crate::model::Model;

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Scalable Vector Graphics: any browser shows it.
    Svg,
    /// Mermaid: GitHub and GitLab show it in Markdown.
    Mermaid,
    /// Graphviz.
    Dot,
}

impl Format {
    /// By the end of a file's name.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "svg" => Some(Self::Svg),
            "mmd" | "mermaid" => Some(Self::Mermaid),
            "dot" | "gv" => Some(Self::Dot),
            _ => None,
        }
    }
}

/// The lab in `model`, called `title`, as a picture.
pub fn picture(model: &Model, title: &str, format: Format) -> String {
    let scene = Scene::of(model);
    match format {
        Format::Svg => svg::write(&scene, &Layout::of(&scene), title),
        Format::Mermaid => mermaid::write(&scene),
        Format::Dot => dot::write(&scene, title),
    }
}

#[cfg(test)]
mod tests;

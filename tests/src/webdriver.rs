//! A person at the real Chromium, who clicks and types: its own driver (Debian's `chromium-driver`),
//! which speaks WebDriver.

use std::{fs, net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    chromium::{Chromium, under_policy},
    netns::Network,
    process::Process,
    tools::need,
    wait::eventually,
};

mod protocol;

use protocol::{Session, element_argument};

/// How a browser is started.
#[derive(Debug, Default)]
pub struct BrowserOptions {
    hosts: Vec<String>,
    without_cookies: Vec<String>,
}

/// A running browser with one window. It ends when dropped.
#[derive(Debug)]
pub struct Browser {
    session: Session,
    driver: Process,
}

impl BrowserOptions {
    /// Leads what the pattern names (`a.test:443`, `*.a.test:443`) to an address.
    pub fn host(mut self, pattern: &str, address: SocketAddr) -> Self {
        self.hosts.push(format!("MAP {pattern} {address}"));
        self
    }

    /// Keeps no cookie of a site (`[*.]a.test`).
    pub fn block_cookies(mut self, site: &str) -> Self {
        self.without_cookies.push(site.to_owned());
        self
    }

    fn policy(&self) -> Value {
        json!({
            "AutoSelectCertificateForUrls": [r#"{"pattern":"*","filter":{}}"#],
            "CookiesBlockedForUrls": self.without_cookies,
        })
    }

    fn capabilities(&self, profile: &Path) -> Value {
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(), // it does not work for root
            "--disable-gpu".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--no-first-run".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        if !self.hosts.is_empty() {
            arguments.push(format!("--host-resolver-rules={}", self.hosts.join(", ")));
        }
        json!({
            "goog:chromeOptions": { "args": arguments, "binary": need("chromium") },
            "goog:loggingPrefs": { "browser": "ALL" },
        })
    }
}

/// The first element that says something with less contrast to what is behind it than WCAG 2
/// asks for (1.4.3: 4.5 to 1), or `null`.
const TOO_PALE: &str = r#"
    const number = c => (c = c / 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const parts = color => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * number(r) + 0.7152 * number(g) + 0.0722 * number(b);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const color = parts(getComputedStyle(element).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    for (const element of document.querySelectorAll("h1, h2, p, a, button, dt, dd, bdi, code, th, td, pre, span, footer")) {
        const [a, b] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) return `${element.outerHTML}: ${contrast}`;
    }
    return null;"#;

impl Browser {
    /// Starts the browser of a person, with the certificates that this person has. Where a server
    /// asks for one, the first of those that it takes is sent.
    ///
    /// It is run in a private network, where it cannot call home.
    ///
    /// # Panics
    /// When the driver or Chromium does not start.
    pub fn start(_network: &Network, person: &Chromium, options: &BrowserOptions) -> Self {
        let mut command = under_policy(&options.policy().to_string(), "chromedriver");
        command.arg("--port=0").env_clear().env("HOME", person.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let driver = Process::spawn("chromedriver", &mut command);
        let port = driver.wait_for("its port", 0, |line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        let capabilities = options.capabilities(&person.home().join("driven"));
        Self { session: Session::new(port, &capabilities), driver }
    }

    /// Opens a URL, and waits until its page, or the page that it leads to, is loaded.
    ///
    /// # Errors
    /// Why there is none, such as `net::ERR_FAILED`.
    pub fn open(&self, url: &str) -> Result<(), String> {
        self.session.try_post("/url", &json!({ "url": url })).map(drop)
    }

    /// The URL of the page that is shown.
    ///
    /// # Panics
    /// When there is no window.
    pub fn url(&self) -> String {
        text(self.session.get("/url"))
    }

    /// Waits until a URL is shown of which `is_meant` is true.
    ///
    /// # Panics
    /// When none comes, with the last one and its page.
    pub fn wait_for_url(&self, what: &str, is_meant: impl Fn(&str) -> bool) -> String {
        let mut tries = 0_u32;
        eventually(what, || {
            tries += 1;
            let url = self.url();
            if tries.is_multiple_of(1_000) {
                eprintln!("waiting for {what}, at {url}: {}", self.page());
            }
            is_meant(&url).then_some(url)
        })
    }

    /// The title of the page.
    ///
    /// # Panics
    /// When there is no window.
    pub fn title(&self) -> String {
        text(self.session.get("/title"))
    }

    /// The page as HTML.
    ///
    /// # Panics
    /// When there is no window.
    pub fn page(&self) -> String {
        text(self.session.get("/source"))
    }

    /// The visible text of the first element that a CSS selector finds; waits for one.
    ///
    /// # Panics
    /// When none comes.
    pub fn text(&self, selector: &str) -> String {
        text(self.on_element(selector, |element| {
            self.session.try_get(&format!("/element/{element}/text")).ok()
        }))
    }

    /// Types into the first element that a CSS selector finds; waits for one.
    ///
    /// # Panics
    /// When none comes.
    pub fn type_into(&self, selector: &str, typed: &str) {
        self.on_element(selector, |element| {
            let path = format!("/element/{element}/value");
            self.session.try_post(&path, &json!({ "text": typed })).ok()
        });
    }

    /// Clicks on the first element that a CSS selector finds; waits for one.
    ///
    /// # Panics
    /// When none comes.
    pub fn click(&self, selector: &str) {
        self.on_element(selector, |element| {
            self.session.try_post(&format!("/element/{element}/click"), &json!({})).ok()
        });
    }

    /// Presses keys in the page; `\u{e004}` is Tab (W3C WebDriver, section 17.4.2).
    ///
    /// # Panics
    /// When there is no window.
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.session.post("/actions", &json!({ "actions": [keyboard] }));
    }

    /// What a script returns: the body of a function.
    ///
    /// # Panics
    /// When it throws.
    pub fn script(&self, body: &str) -> Value {
        self.session.post("/execute/sync", &json!({ "script": body, "args": [] }))
    }

    /// The cookies that the page that is shown would be sent, `HttpOnly` ones too.
    ///
    /// # Panics
    /// When there is no window.
    pub fn cookies(&self) -> Vec<Value> {
        self.session.get("/cookie").as_array().cloned().unwrap_or_default()
    }

    /// All cookies that the browser keeps, of every site.
    ///
    /// # Panics
    /// When Chromium does not tell.
    pub fn all_cookies(&self) -> Vec<Value> {
        let all = self.devtools("Network.getAllCookies", &json!({}));
        all["cookies"].as_array().cloned().unwrap_or_default()
    }

    /// The windows and tabs that are open.
    ///
    /// # Panics
    /// When the driver does not tell.
    pub fn windows(&self) -> Vec<String> {
        let windows = self.session.get("/window/handles");
        windows.as_array().into_iter().flatten().cloned().map(text).collect()
    }

    /// Opens a tab and goes to it.
    ///
    /// # Panics
    /// When the driver does not open it.
    pub fn new_tab(&self) -> String {
        let tab = self.session.post("/window/new", &json!({ "type": "tab" }));
        let handle = text(tab["handle"].clone());
        self.switch_to(&handle);
        handle
    }

    /// Goes to a window or tab.
    ///
    /// # Panics
    /// When it is not open.
    pub fn switch_to(&self, window: &str) {
        self.session.post("/window", &json!({ "handle": window }));
    }

    /// Goes into the frame that a CSS selector finds; waits for one.
    ///
    /// # Panics
    /// When none comes.
    pub fn enter_frame(&self, selector: &str) {
        self.on_element(selector, |element| {
            let body = json!({ "id": element_argument(element) });
            self.session.try_post("/frame", &body).ok()
        });
    }

    /// Goes back from all frames to the page.
    ///
    /// # Panics
    /// When there is no window.
    pub fn leave_frames(&self) {
        self.session.post("/frame", &json!({ "id": null }));
    }

    /// What the browser's console says since it was last read: violations of a
    /// Content-Security-Policy, refused cookies, failed requests.
    ///
    /// # Panics
    /// When the driver does not tell.
    pub fn console(&self) -> Vec<String> {
        let log = self.session.post("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().into_iter().flatten();
        entries.map(|entry| text(entry["message"].clone())).collect()
    }

    /// Sends a command of Chromium's own protocol.
    ///
    /// # Panics
    /// When Chromium refuses it.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.session.post("/goog/cdp/execute", &body)
    }

    /// Shows pages as on a screen of this size, in light or dark.
    ///
    /// # Panics
    /// When Chromium refuses it.
    pub fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// The first element of the page whose text has too little contrast, if there is one.
    ///
    /// # Panics
    /// When Chromium does not tell.
    pub fn too_pale(&self) -> Option<String> {
        self.script(TOO_PALE).as_str().map(str::to_owned)
    }

    /// Writes the whole page as a PNG file.
    ///
    /// # Panics
    /// When Chromium or the file system fails.
    pub fn screenshot(&self, file: &Path) {
        let beyond = json!({ "captureBeyondViewport": true });
        let shot = self.devtools("Page.captureScreenshot", &beyond);
        let png = STANDARD.decode(text(shot["data"].clone())).expect("base64");
        fs::write(file, png).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Does something with an element, again with what is found then if it went away meanwhile.
    fn on_element<T>(&self, selector: &str, mut action: impl FnMut(&str) -> Option<T>) -> T {
        eventually(selector, || action(&self.session.element(selector)?))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(page) = self.session.try_get("/source")
        {
            eprintln!("---- the page that was shown ----\n{page}");
        }
        let _ = self.session.delete("");
        let _ = self.driver.is_running();
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => panic!("no text: {other}"),
    }
}

//! The definitions in one source text, without items that are only compiled for tests.

use super::tokens::{Token, tokens};

/// The definitions of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Items {
    /// Types that code outside the file can name.
    pub(super) types: Vec<TypeDefinition>,
    pub(super) functions: Vec<Function>,
    /// Names of modules in files of their own that only tests compile (`#[cfg(test)] mod name;`).
    pub(super) test_modules: Vec<String>,
}

/// A struct, enum, trait, union or type alias.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TypeDefinition {
    pub(super) name: String,
    pub(super) line: usize,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// Lines from the one with `fn` to the one with the closing brace.
    pub(super) length: usize,
}

/// Reads the definitions. An item in the arguments of a macro counts too.
///
/// Items of a private inline module are not visible outside the file.
pub(super) fn items(source: &str) -> Items {
    let tokens = tokens(source);
    let mut reader = Reader { tokens: &tokens, items: Items::default() };
    if !reader.is_test_file() {
        reader.read(0, tokens.len(), true);
    }
    reader.items
}

struct Reader<'a> {
    tokens: &'a [Token],
    items: Items,
}

impl Reader<'_> {
    /// Reads the items between two indices; `visible` says whether their enclosing module is.
    fn read(&mut self, mut at: usize, end: usize, visible: bool) {
        while at < end {
            at = if self.is(at, "#") && self.is(at + 1, "[") {
                self.attribute(at)
            } else if self.is(at, "pub") {
                self.public(at, visible)
            } else if self.is(at, "mod") {
                self.module(at, false)
            } else {
                self.function(at);
                at + 1
            };
        }
    }

    /// Skips an attribute, and with `#[cfg(test)]` the item that it stands before.
    fn attribute(&mut self, at: usize) -> usize {
        let after = self.matching(at + 1) + 1;
        if !self.is_cfg_test(at + 2) {
            return after;
        }
        let item = self.after_attributes_and_visibility(after);
        if self.is(item, "mod") && self.is(item + 2, ";") {
            self.items.test_modules.push(self.text(item + 1));
        }
        self.end_of_item(item)
    }

    /// Reads `pub` or `pub(...)` and, if it is a type or a module, the item after it.
    fn public(&mut self, at: usize, visible: bool) -> usize {
        let (item, for_others) = self.visibility(at);
        let item = if self.is(item, "unsafe") { item + 1 } else { item };
        if self.is(item, "mod") {
            return self.module(item, visible && for_others);
        }
        let is_type =
            ["struct", "enum", "trait", "type", "union"].iter().any(|word| self.is(item, word));
        let is_named = self.tokens.get(item + 1).is_some_and(Token::is_word);
        if is_type && is_named && visible && for_others {
            let (name, line) = (self.text(item + 1), self.tokens[item].line);
            self.items.types.push(TypeDefinition { name, line });
        }
        item
    }

    /// The index after a visibility, and whether it reaches outside the module.
    fn visibility(&self, at: usize) -> (usize, bool) {
        if self.is(at + 1, "(") {
            return (self.matching(at + 1) + 1, !self.is(at + 2, "self"));
        }
        (at + 1, true)
    }

    /// Reads the items of an inline module.
    fn module(&mut self, at: usize, visible: bool) -> usize {
        if !self.is(at + 2, "{") {
            return at + 1;
        }
        let end = self.matching(at + 2);
        self.read(at + 3, end, visible);
        end + 1
    }

    fn function(&mut self, at: usize) {
        let is_function = self.is(at, "fn") && self.tokens.get(at + 1).is_some_and(Token::is_word);
        let Some(body) = is_function.then(|| self.body(at)).flatten() else { return };
        let line = self.tokens[at].line;
        let last = self.tokens.get(self.matching(body)).map_or(line, |token| token.line);
        let name = self.text(at + 1);
        self.items.functions.push(Function { name, line, length: last - line + 1 });
    }

    /// The opening brace of a function's body; a declaration in a trait has none.
    fn body(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.tokens.get(at)?.text.as_str() {
                "(" | "[" => at = self.matching(at),
                "{" => return Some(at),
                ";" => return None,
                _ => {}
            }
            at += 1;
        }
    }

    /// The index after an item: after its semicolon or its block. `use` has its own braces.
    fn end_of_item(&self, mut at: usize) -> usize {
        let is_use = self.is(at, "use");
        while let Some(token) = self.tokens.get(at) {
            match token.text.as_str() {
                "{" if !is_use => return self.matching(at) + 1,
                "(" | "[" | "{" => at = self.matching(at),
                ")" | "]" | "}" => return at,
                ";" => return at + 1,
                _ => {}
            }
            at += 1;
        }
        at
    }

    fn after_attributes_and_visibility(&self, mut at: usize) -> usize {
        while self.is(at, "#") {
            at = self.matching(at + 1) + 1;
        }
        if self.is(at, "pub") { self.visibility(at).0 } else { at }
    }

    fn is_test_file(&self) -> bool {
        let mut at = 0;
        while self.is(at, "#") && self.is(at + 1, "!") {
            if self.is_cfg_test(at + 3) {
                return true;
            }
            at = self.matching(at + 2) + 1;
        }
        false
    }

    /// Whether `cfg(test)` or `cfg(all(test, ...))` begins here.
    fn is_cfg_test(&self, at: usize) -> bool {
        let begins = |words: &[&str]| words.iter().zip(at..).all(|(word, at)| self.is(at, word));
        begins(&["cfg", "(", "test", ")"]) || begins(&["cfg", "(", "all", "(", "test"])
    }

    /// The index of the bracket that closes this one; the end of the text if there is none.
    fn matching(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len()
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(text))
    }

    fn text(&self, at: usize) -> String {
        self.tokens.get(at).map(|token| token.text.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(source: &str) -> Vec<String> {
        items(source).types.into_iter().map(|found| found.name).collect()
    }

    fn lengths(source: &str) -> Vec<(String, usize)> {
        items(source).functions.into_iter().map(|found| (found.name, found.length)).collect()
    }

    #[test]
    fn every_kind_of_visible_type_is_found() {
        let source = "
            pub struct A; pub(crate) enum B {} pub(super) trait C {} pub(in crate::x) type D = u8;
            pub union E { a: u8 } pub unsafe trait F {} #[derive(Debug)] pub struct G<T>(T);
        ";
        assert_eq!(types(source), ["A", "B", "C", "D", "E", "F", "G"]);
    }

    #[test]
    fn private_types_and_associated_types_are_not_found() {
        let source = "
            struct A; enum B {} pub(self) struct C; pub fn f() { struct D; }
            impl X for A { type Item = u8; } pub use y::E; // pub struct F;
        ";
        assert!(types(source).is_empty());
    }

    #[test]
    fn items_of_an_inline_module_are_as_visible_as_the_module() {
        let source = "
            mod hidden { pub struct A; pub(super) struct B; pub mod deeper { pub struct C; } }
            pub(crate) mod shown { pub struct D; mod hidden { pub struct E; } pub struct F; }
            pub struct G;
        ";
        assert_eq!(types(source), ["D", "F", "G"]);
    }

    #[test]
    fn types_in_the_arguments_of_a_macro_are_found() {
        assert_eq!(types("pin_project! { pub struct A { #[pin] a: u8 } }"), ["A"]);
        assert!(types("macro_rules! m { ($n:ident) => { pub struct $n; } }").is_empty());
    }

    #[test]
    fn items_that_only_tests_compile_are_left_out() {
        let source = "
            #[cfg(test)] mod tests { pub struct A; fn long() {} }
            #[cfg(test)] #[derive(Debug)] pub(crate) struct B { b: [u8; 2] }
            #[cfg(test)] use x::{y, z};
            #[cfg(all(test, unix))] pub struct C;
            impl D { #[cfg(test)] pub fn f<A, B>(a: A) -> B {} }
            #[cfg(any(test, feature = \"bench\"))] pub struct E;
            #[cfg(not(test))] pub struct F;
        ";
        assert_eq!(types(source), ["E", "F"]);
        assert!(lengths(source).is_empty());
    }

    #[test]
    fn files_that_only_tests_compile_are_named() {
        let source = "#[cfg(test)] mod tests; mod a; #[cfg(test)] pub(crate) mod testing;";
        assert_eq!(items(source).test_modules, ["tests", "testing"]);
        assert_eq!(items("#![cfg(test)] pub struct A;"), Items::default());
    }

    #[test]
    fn a_function_is_as_long_as_its_signature_and_body() {
        let source =
            "fn one() {}\npub async fn four(\n    a: [u8; 2],\n) {\n}\ntrait T { fn none(); }";
        assert_eq!(lengths(source), [("one".to_owned(), 1), ("four".to_owned(), 4)]);
    }

    #[test]
    fn nested_functions_and_methods_are_measured_too() {
        let source = "impl A {\n fn outer(&self) {\n fn inner() {\n }\n }\n}\nlet f: fn(u8) = g;";
        assert_eq!(lengths(source), [("outer".to_owned(), 4), ("inner".to_owned(), 2)]);
    }
}

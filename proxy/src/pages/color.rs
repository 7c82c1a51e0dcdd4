//! Colours of the configuration, and whether people can read texts in them.

/// A colour without transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageColor {
    red: u8,
    green: u8,
    blue: u8,
}

/// The least contrast between a text and what is behind it (WCAG 2.2, section 1.4.3).
const READABLE: f64 = 4.5;

impl PageColor {
    /// Reads `#rgb` or `#rrggbb`. Nothing else: the text becomes part of a style.
    pub(crate) fn parse(text: &str) -> Option<PageColor> {
        let digits = text.strip_prefix('#')?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        let part = |bits: u32| u8::try_from(number >> bits & 0xff).unwrap_or(u8::MAX);
        let short = |bits: u32| u8::try_from((number >> bits & 0xf) * 17).unwrap_or(u8::MAX);
        match digits.len() {
            3 => Some(PageColor { red: short(8), green: short(4), blue: short(0) }),
            6 => Some(PageColor { red: part(16), green: part(8), blue: part(0) }),
            _ => None,
        }
    }

    /// Whether a text in this colour can be read on that one.
    pub(crate) fn is_readable_on(self, behind: PageColor) -> bool {
        let (one, other) = (self.luminance(), behind.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05) >= READABLE
    }

    /// Black or white: a text in it can be read on this colour. For each colour, one of them can.
    pub(super) fn text_color(self) -> PageColor {
        let white = PageColor { red: 255, green: 255, blue: 255 };
        let black = PageColor { red: 0, green: 0, blue: 0 };
        if white.is_readable_on(self) { white } else { black }
    }

    /// The relative luminance (WCAG 2.2), from 0 to 1.
    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.red) + 0.7152 * linear(self.green) + 0.0722 * linear(self.blue)
    }
}

/// As CSS has it.
impl std::fmt::Display for PageColor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.red, self.green, self.blue)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn color(text: &str) -> PageColor {
        PageColor::parse(text).unwrap()
    }

    #[test]
    fn a_color_has_three_or_six_digits_and_nothing_else() {
        assert_eq!(color("#6F43E7").to_string(), "#6f43e7");
        assert_eq!(color("#a1c").to_string(), "#aa11cc");
        for bad in
            ["", "#", "6f43e7", "#6f43e", "#+f43e7", "#6f43e7ff", "red", "#fff;}", "rgb(0,0,0)"]
        {
            assert_eq!(PageColor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let white = color("#fff");
        assert!(color("#767676").is_readable_on(white));
        assert!(!color("#777777").is_readable_on(white));
        assert!(!color("#ffff00").is_readable_on(white));
    }

    proptest! {
        #[test]
        fn a_text_on_any_color_can_be_read(red: u8, green: u8, blue: u8) {
            let color = PageColor { red, green, blue };
            prop_assert!(color.text_color().is_readable_on(color));
        }

        #[test]
        fn no_text_makes_it_panic(text in "#?\\PC{0,8}") {
            let _ = PageColor::parse(&text);
        }
    }
}

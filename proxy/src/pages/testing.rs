//! What tests of pages have in common.

/// The names of the elements of a document, and a panic if they are not closed in order.
pub(crate) fn elements(html: &str) -> Vec<&str> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for tag in html.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None => {
                all.push(name);
                if !tag.ends_with('/') && !["meta", "!DOCTYPE", "link", "img"].contains(&name) {
                    open.push(name);
                }
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open: {html}");
    all
}

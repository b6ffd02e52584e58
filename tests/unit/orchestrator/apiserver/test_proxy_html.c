/* proxy_html.h: which links of a page change, and that nothing else does, however the bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/proxy_html.h"

static void check(const char *in, const char *want)
{
	/* Whole, byte by byte, and in two pieces at every place. */
	for (size_t cut = 0; cut <= strlen(in) + 1; cut++) {
		struct proxy_html *h = proxy_html_new("10.0.0.1:80", STR("/p/proxy"));
		struct buf out = BUF_INIT;

		if (cut <= strlen(in)) {
			proxy_html_feed(h, str_of(in, cut), &out);
			proxy_html_feed(h, str_from(in + cut), &out);
		} else {
			for (size_t i = 0; in[i]; i++)
				proxy_html_feed(h, str_of(in + i, 1), &out);
		}
		proxy_html_end(h, &out);
		buf_add1(&out, '\0');
		assert_string_equal(out.p, want);
		buf_fini(&out);
		proxy_html_free(h);
	}
}

static void same(const char *in)
{
	check(in, in);
}

static void test_links(void **state)
{
	(void)state;
	check("<a href=\"/x\">", "<a href=\"/p/proxy/x\">");
	check("<A class=b HREF='/x?a=1&amp;b=/2' >t</A>", "<A class=b HREF='/p/proxy/x?a=1&amp;b=/2' >t</A>");
	check("<img alt=x src=/i.png>", "<img alt=x src=/p/proxy/i.png>");
	check("<img src = \"/i.png\"/><br>", "<img src = \"/p/proxy/i.png\"/><br>");
	check("<form action=\"http://10.0.0.1:80/do\">", "<form action=\"/p/proxy/do\">");
	check("<link rel=x href=\" /s.css \">", "<link rel=x href=\"/p/proxy/s.css\">");
	check("<video poster='/p'><source src=\"/v\"><video/src=/w>",
			"<video poster='/p/proxy/p'><source src=\"/p/proxy/v\"><video/src=/p/proxy/w>");
	check("<script src=\"/s.js\"></script><a href=/x>", "<script src=\"/p/proxy/s.js\"></script><a href=/p/proxy/x>");
	check("1 < 2 <<a href=\"/x\">", "1 < 2 <<a href=\"/p/proxy/x\">");
	check("<a disabled href=\"/\">", "<a disabled href=\"/p/proxy/\">");
}

static void test_left_alone(void **state)
{
	(void)state;
	same("<a href=\"x/y\"><a href=\"#z\"><a href=\"\"><a href=><a href>");
	same("<a href=\"https://example.com/x\"><a href=\"//example.com/x\"><a href=\"mailto:a@b\">");
	same("<a href=\"/p/proxy/x\">");
	same("<a title=\"/x\" data-href=\"/x\"><p href=\"/x\"><b src=/y>");
	same("<!-- <a href=\"/x\"> --><!doctype html><?x <a href=\"/x\"?>");
	same("<script>if (a</b) x = '<a href=\"/x\">'; </scriptx></script ><style>a[href=\"/x\"]</style>");
	same("<textarea><a href=\"/x\"></textarea><title><a href=\"/x\"></title>");
	same("</a href=\"/x\">");
	same("text /x \"/y\" href=\"/z\"");
	/* A page that ends in the middle. */
	same("<a href=\"/x");
	same("<a href=/x");
	same("<a hr");
	same("<!--");
}

static void test_comments(void **state)
{
	(void)state;
	check("<!--><a href=/x>", "<!--><a href=/p/proxy/x>");
	check("<!-- a -- b --><a href=/x>", "<!-- a -- b --><a href=/p/proxy/x>");
	check("<!-- a --!><a href=/x>", "<!-- a --!><a href=/p/proxy/x>");
	check("<!doctype html><a href=/x>", "<!doctype html><a href=/p/proxy/x>");
	check("<SCRIPT>x</sCript\n><a href=/x>", "<SCRIPT>x</sCript\n><a href=/p/proxy/x>");
	check("<script>a<</script><a href=/x>", "<script>a<</script><a href=/p/proxy/x>");
}

/* An address of any length is passed on, and not held. */
static void test_long(void **state)
{
	struct proxy_html *h = proxy_html_new("10.0.0.1:80", STR("/p/proxy"));
	struct buf in = BUF_INIT, out = BUF_INIT;

	(void)state;
	buf_addc(&in, "<a href=\"/");
	for (int i = 0; i < 20000; i++)
		buf_add1(&in, 'x');
	buf_addc(&in, "\"><a href=\"/y\">");
	proxy_html_feed(h, buf_str(&in), &out);
	proxy_html_end(h, &out);
	assert_int_equal(out.n, in.n + strlen("/p/proxy"));
	assert_memory_equal(out.p, in.p, 20000);
	assert_true(str_has_suffix(buf_str(&out), STR("<a href=\"/p/proxy/y\">")));
	buf_fini(&in);
	buf_fini(&out);
	proxy_html_free(h);
}

static void test_pages(void **state)
{
	(void)state;
	assert_true(proxy_html_is_page(STR("text/html"), STR("")));
	assert_true(proxy_html_is_page(STR("Text/HTML; charset=utf-8"), STR("identity")));
	assert_false(proxy_html_is_page(STR("text/html"), STR("gzip")));
	assert_false(proxy_html_is_page(STR("text/htmlx"), STR("")));
	assert_false(proxy_html_is_page(STR(""), STR("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_links),
			cmocka_unit_test(test_left_alone),
			cmocka_unit_test(test_comments),
			cmocka_unit_test(test_long),
			cmocka_unit_test(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

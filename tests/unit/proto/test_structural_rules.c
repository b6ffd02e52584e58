/* proto/structural_rules.h: rules of custom resources: what is refused in a definition, and what objects break. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/structural_rules.h"
#include "tests/lib/json_words.h"

static struct arena arena;

/* Single quotes stand for double ones, backquotes for single ones. */
static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(json_quoted(&arena, text)));
}

static const char *print_errs(const struct field_errs *errs)
{
	struct buf b = BUF_INIT;
	const char *r;

	field_errs_print(&b, errs);
	r = arena_cstr(&arena, buf_str(&b));
	buf_fini(&b);
	return r;
}

#define OBJECT(properties, rules) "{'type':'object','properties':{" properties "},'x-kubernetes-validations':[" rules "]}"
#define NUMBER "'n':{'type':'integer'}"
#define ROOT(rules) OBJECT(NUMBER, rules)

static void test_definitions(void **state)
{
	static const struct {
		const char *schema, *error; /* "": fine */
	} rows[] = {
			{ROOT("{'rule':'self.n > 0'}"), ""},
			{ROOT("{'rule':'self.metadata.name == `x`'}"), ""},
			{ROOT("{'rule':'self.metadata.labels.size() > 0'}"), "compilation failed: ERROR: <input>:1:14: undefined field 'labels'"},
			{ROOT("{'rule':'self.m > 0'}"), "compilation failed: ERROR: <input>:1:5: undefined field 'm'"},
			{ROOT("{'rule':'self.n'}"), "x-kubernetes-validations[0].rule: Invalid value: {\"rule\":\"self.n\"}: cel expression must evaluate to a bool"},
			{ROOT("{'rule':' '}"), "x-kubernetes-validations[0].rule: Required value: rule is not specified"},
			{ROOT("{'rule':'true','message':' '}"), "message: Invalid value: \" \": message must be non-empty if specified"},
			{ROOT("{'rule':'true','message':'a\\nb'}"), "message must not contain line breaks"},
			{ROOT("{'rule':'true ||\\nfalse'}"), "message: Required value: message must be specified if rule contains line breaks"},
			{ROOT("{'rule':'true','messageExpression':'1'}"), "messageExpression must evaluate to a string"},
			{ROOT("{'rule':'true','messageExpression':'x'}"), "messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'"},
			{ROOT("{'rule':'true','reason':'Because'}"), "reason: Unsupported value: \"Because\": supported values: \"FieldValueDuplicate\""},
			{ROOT("{'rule':'true','fieldPath':'.n'}"), ""},
			{ROOT("{'rule':'true','fieldPath':'n'}"), "fieldPath must be a valid path: expected [ or . at the beginning"},
			{ROOT("{'rule':'true','fieldPath':'.m'}"), "fieldPath must be a valid path: does not refer to a valid field"},
			{ROOT("{'rule':'self.n >= oldSelf.n'}"), ""},
			{ROOT("{'rule':'oldSelf.hasValue() ? self.n > oldSelf.value().n : true','optionalOldSelf':true}"), ""},
			{ROOT("{'rule':'true','optionalOldSelf':true}"), "optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"},
			{OBJECT("'l':{'type':'array','items':{'type':'integer','x-kubernetes-validations':[{'rule':'self == oldSelf'}]}}", ""),
					"oldSelf cannot be used on the uncorrelatable portion of the schema within properties[l]"},
			{OBJECT("'l':{'type':'array','items':{'type':'integer'},'x-kubernetes-validations':[{'rule':'self == oldSelf'}]}", ""), ""},
			{OBJECT("'l':{'type':'object','additionalProperties':{'type':'integer','x-kubernetes-validations':[{'rule':'self == oldSelf'}]}}", ""),
					""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_errs errs;

		field_errs_init(&errs, &arena);
		structural_compile(&arena, parse(rows[i].schema), NULL, &errs);
		if (rows[i].error[0] ? strstr(print_errs(&errs), rows[i].error) == NULL : errs.n > 0)
			fail_msg("%s\n got: %s\nwant: %s", rows[i].schema, print_errs(&errs), rows[i].error);
	}
	arena_fini(&arena);
}

/* How often a rule may run counts as well as what it costs once. */
static void test_costs(void **state)
{
	static const struct {
		const char *schema, *error;
	} rows[] = {
			{OBJECT("'l':{'type':'array','maxItems':10,'items':{'type':'string','maxLength':10}}", "{'rule':'self.l.all(x, x != `a`)'}"), ""},
			{OBJECT("'n':{'type':'integer'},'max':{'type':'integer'}", "{'rule':'self.n <= self.max','messageExpression':'`more than ` + string(self.max)'}"),
					""},
			{OBJECT("'l':{'type':'array','items':{'type':'array','items':{'type':'string','x-kubernetes-validations':[{'rule':"
				"'self.matches(`^(a|b)*$`)'}]}}}", ""),
					"properties[l].items.items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of"},
			{OBJECT("'l':{'type':'array','items':{'type':'string'}}", "{'rule':'self.l.all(x, self.l.all(y, x == y))'}"),
					"exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and "
					"maxLength where arrays, maps, and strings are declared)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_errs errs;
		struct structural *s;

		field_errs_init(&errs, &arena);
		s = structural_compile(&arena, parse(rows[i].schema), NULL, &errs);
		if (!s)
			fail_msg("%s", print_errs(&errs));
		structural_rules_costs(s, NULL, &errs);
		if (rows[i].error[0] ? strstr(print_errs(&errs), rows[i].error) == NULL : errs.n > 0)
			fail_msg("%s\n got: %s\nwant: %s", rows[i].schema, print_errs(&errs), rows[i].error);
	}
	arena_fini(&arena);
}

#define LIST(rules) "'l':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'type':'object'," \
		    "'required':['k'],'properties':{'k':{'type':'string'},'v':{'type':'integer'}},'x-kubernetes-validations':[" rules "]}}"

static void test_objects(void **state)
{
	static const struct {
		const char *schema, *object, *old, *errors, *warnings; /* old NULL: new */
	} rows[] = {
			{ROOT("{'rule':'self.n > 0'}"), "{'n':1}", NULL, "", ""},
			{ROOT("{'rule':'self.n > 0'}"), "{'n':0}", NULL, "<nil>: Invalid value: \"object\": failed rule: self.n > 0", ""},
			{ROOT("{'rule':'self.n > 0','message':'too small','fieldPath':'.n'}"), "{'n':0}", NULL,
					"n: Invalid value: \"object\": too small", ""},
			{ROOT("{'rule':'self.n > 0','messageExpression':'`n is ` + string(self.n)'}"), "{'n':-2}", NULL,
					"<nil>: Invalid value: \"object\": n is -2", ""},
			{ROOT("{'rule':'self.n > 0','message':'m','messageExpression':'string(1/self.n)'}"), "{'n':0}", NULL,
					"<nil>: Invalid value: \"object\": m", ""},
			{ROOT("{'rule':'self.n > 0','reason':'FieldValueForbidden','message':'no','fieldPath':'.n'}"), "{'n':0}", NULL,
					"n: Forbidden: no", ""},
			{ROOT("{'rule':'10 / self.n > 0'}"), "{'n':0}", NULL,
					"<nil>: Invalid value: \"object\": division by zero evaluating rule: 10 / self.n > 0", ""},
			{ROOT("{'rule':'self.n > 0'}"), "{}", NULL, "<nil>: Invalid value: \"object\": no such key: n evaluating rule: self.n > 0", ""},
			/* Transitions: only where there was something. */
			{ROOT("{'rule':'self.n >= oldSelf.n','message':'may only grow'}"), "{'n':0}", NULL, "", ""},
			{ROOT("{'rule':'self.n >= oldSelf.n','message':'may only grow'}"), "{'n':0}", "{'n':1}",
					"<nil>: Invalid value: \"object\": may only grow", ""},
			{ROOT("{'rule':'oldSelf.hasValue()','optionalOldSelf':true,'message':'never new'}"), "{'n':0}", NULL,
					"<nil>: Invalid value: \"object\": never new", ""},
			{ROOT("{'rule':'oldSelf.hasValue() && oldSelf.value().n == 1','optionalOldSelf':true}"), "{'n':0}", "{'n':1}", "", ""},
			/* Items are found again by their keys. */
			{OBJECT(LIST("{'rule':'self.v >= oldSelf.v'}"), ""), "{'l':[{'k':'b','v':1},{'k':'a','v':1}]}", "{'l':[{'k':'a','v':2},{'k':'b','v':0}]}",
					"l[1]: Invalid value: \"object\": failed rule: self.v >= oldSelf.v", ""},
			/* What has not changed is let through, and told. */
			{OBJECT("'p':" ROOT("{'rule':'self.n > 0'}") "," NUMBER, ""), "{'p':{'n':0},'n':2}", "{'p':{'n':0},'n':1}", "",
					"p: Invalid value: \"object\": failed rule: self.n > 0"},
			{OBJECT("'p':" ROOT("{'rule':'self.n > 0'}") "," NUMBER, ""), "{'p':{'n':-1},'n':2}", "{'p':{'n':0},'n':1}",
					"p: Invalid value: \"object\": failed rule: self.n > 0", ""},
			{OBJECT("'s':{'type':'string','maxLength':1},'t':{'type':'string'}", ""), "{'s':'aa','t':'b'}", "{'s':'aa','t':'a'}", "", ""},
			{OBJECT("'s':{'type':'string','maxLength':1},'t':{'type':'string'}", ""), "{'s':'ab','t':'b'}", "{'s':'aa','t':'a'}",
					"s: Too long: may not be more than 1 bytes", ""},
			/* Values of wrong types are not shown to rules. */
			{OBJECT(NUMBER, "{'rule':'self.n > 0'}"), "{'n':'x'}", NULL,
					"<nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; "
					"correct the existing errors to complete validation", ""},
			/* Null is not looked at. */
			{OBJECT("'p':{'type':'object','nullable':true,'properties':{},'x-kubernetes-validations':[{'rule':'false'}]}", ""), "{'p':null}", NULL,
					"", ""},
			{OBJECT("'m':{'type':'object','additionalProperties':{'type':'integer','x-kubernetes-validations':[{'rule':'self > 0'}]}}", ""),
					"{'m':{'a':1,'b':0}}", NULL, "m[b]: Invalid value: \"integer\": failed rule: self > 0", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *obj = parse(rows[i].object), *old = rows[i].old ? parse(rows[i].old) : NULL;
		struct field_errs errs, warnings;
		struct structural *s;

		field_errs_init(&errs, &arena);
		field_errs_init(&warnings, &arena);
		s = structural_compile(&arena, parse(rows[i].schema), NULL, &errs);
		if (!s)
			fail_msg("%s\n%s", rows[i].schema, print_errs(&errs));
		errs.warnings = &warnings;
		structural_validate(s, obj, old, NULL, &errs);
		structural_rules_run(s, obj, old, &errs);
		if (rows[i].errors[0] ? strstr(print_errs(&errs), rows[i].errors) == NULL : errs.n > 0)
			fail_msg("%s of %s\n got: %s\nwant: %s", rows[i].object, rows[i].schema, print_errs(&errs), rows[i].errors);
		if (rows[i].warnings[0] ? strstr(print_errs(&warnings), rows[i].warnings) == NULL : warnings.n > 0)
			fail_msg("%s of %s\n got: %s\nwant: %s", rows[i].object, rows[i].schema, print_errs(&warnings), rows[i].warnings);
	}
	arena_fini(&arena);
}

/* Work is bounded, whatever the rule. */
static void test_budget(void **state)
{
	struct field_errs errs;
	struct structural *s;
	struct json *obj = parse("{'l':[]}"), *list = json_getc(obj, "l");

	(void)state;
	field_errs_init(&errs, &arena);
	s = structural_compile(&arena, parse(OBJECT("'l':{'type':'array','items':{'type':'integer'}}",
			"{'rule':'self.l.all(x, self.l.all(y, self.l.all(z, x + y + z >= 0)))'}")), NULL, &errs);
	assert_non_null(s);
	for (int i = 0; i < 400; i++)
		json_push(&arena, list, json_new_int(&arena, i));
	structural_rules_run(s, obj, NULL, &errs);
	assert_int_equal(errs.n, 1);
	assert_non_null(strstr(print_errs(&errs), "no further validation rules will be run due to call cost exceeds limit for rule: self.l.all"));
	arena_fini(&arena);
}

/* A list of at most `max` and n rules about each two of its elements: seven for each two, six for each, three more. */
static struct structural *pairs(int max, int n, struct field_errs *errs)
{
	const char *rules = "";
	struct structural *s;

	for (int i = 0; i < n; i++)
		rules = arena_printf(&arena, "%s%s{'rule':'self.l.all(x, self.l.all(y, x + y >= 0))'}", rules, i > 0 ? "," : "");
	field_errs_init(errs, &arena);
	s = structural_compile(&arena,
			parse(arena_printf(&arena, "{'type':'object','properties':{'l':{'type':'array','maxItems':%d,'items':{'type':'integer'}}},"
						   "'x-kubernetes-validations':[%s]}", max, rules)), NULL, errs);
	assert_non_null(s);
	return s;
}

/* One rule may cost 10,000,000, all of a definition 100,000,000: fourteen of 7,006,003 each may, fifteen not; so may one about 1,194 elements, about 1,195 not. */
static void test_cost_limits(void **state)
{
	static const struct {
		int max, n;
		const char *error;
	} rows[] = {
			{1000, 14, NULL},
			{1000, 15, "estimated cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.0"},
			{1194, 1, NULL},
			{1195, 1, "estimated rule cost exceeds budget by factor of 1.0"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_errs errs;

		structural_rules_costs(pairs(rows[i].max, rows[i].n, &errs), NULL, &errs);
		if (rows[i].error ? strstr(print_errs(&errs), rows[i].error) == NULL : errs.n > 0)
			fail_msg("%d rules, at most %d: %s", rows[i].n, rows[i].max, print_errs(&errs));
		arena_fini(&arena);
	}
}

/* All rules of an object may take 10,000,000 together: ten of 960,523 do, of eleven the last is not run. */
static void test_budget_of_object(void **state)
{
	(void)state;
	for (int n = 10; n <= 11; n++) {
		struct field_errs errs;
		struct structural *s = pairs(370, n, &errs);
		struct json *obj = parse("{'l':[]}"), *list = json_getc(obj, "l");

		for (int i = 0; i < 370; i++)
			json_push(&arena, list, json_new_int(&arena, i));
		structural_rules_run(s, obj, NULL, &errs);
		assert_int_equal(errs.n, n - 10);
		if (n == 11)
			assert_non_null(strstr(print_errs(&errs),
					"validation failed due to running out of cost budget, no further validation rules will be run"));
		arena_fini(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_definitions),
			cmocka_unit_test(test_costs),
			cmocka_unit_test(test_objects),
			cmocka_unit_test(test_cost_limits),
			cmocka_unit_test(test_budget),
			cmocka_unit_test(test_budget_of_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

# What `make install` puts beside the program: systemd units, its manual, and the examples as documentation.
UNITS = packaging/kontiki-server.service packaging/kontiki-agent.service packaging/kontiki-etcd.service
if INSTALL_UNITS
systemdsystemunit_DATA = $(UNITS)
endif
CLEANFILES += $(UNITS)
EXTRA_DIST += packaging/kontiki-server.service.in packaging/kontiki-agent.service.in packaging/kontiki-etcd.service.in

packaging/%.service: packaging/%.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) packaging && sed -e 's|@bindir[@]|$(bindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
		-e 's|@docdir[@]|$(docdir)|g' $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@

# The manual is what the program itself says of its commands.
man_MANS = packaging/kontiki.8
CLEANFILES += packaging/kontiki.8
EXTRA_DIST += packaging/man
packaging/kontiki.8: kontiki$(EXEEXT) packaging/man
	$(AM_V_GEN)$(MKDIR_P) packaging && $(srcdir)/packaging/man ./kontiki$(EXEEXT) >$@.tmp && mv $@.tmp $@

dist_doc_DATA += README.md
examplesdir = $(docdir)/examples
dist_examples_DATA = examples/README.md examples/autoscaler.yaml examples/config-consumer.yaml examples/headless-service.yaml \
	examples/ingress.yaml examples/myapp-pod.yaml \
	examples/namespace-demo.yaml examples/network-policy.yaml examples/nginx-deployment.yaml examples/nginx-nodeport.yaml examples/nginx-service.yaml \
	examples/probes.yaml examples/shared-volume.yaml
EXTRA_DIST += tools .ci tests/check-layers tests/system
